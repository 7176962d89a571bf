import type { IncomingMessage } from 'node:http'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { PoolError } from '../contract/error.ts'
import { checkJsonText } from '../contract/json-text.ts'
import { createGrowingBuffer } from './growing-buffer.ts'

const LARGE_BYTES = 65_536

/**
 * Reads a request's body as JSON; undefined when there is none.
 *
 * @throws {@link PoolError} `UNSUPPORTED_MEDIA_TYPE` for anything but plain `application/json` in UTF-8, `TOO_LARGE`
 * above the bound, `INVALID_PARAMS` for what is no JSON, or of too many values or levels: with the place, without the content.
 */
export async function readJsonBody(incoming: IncomingMessage, maxBytes: number): Promise<unknown> {
  const { headers } = incoming
  const length = Number(headers['content-length'] ?? (headers['transfer-encoding'] === undefined ? 0 : 1))
  if (length === 0) return undefined
  checkType(headers)
  if (length > maxBytes) throw tooLarge(maxBytes)
  const bytes = await readBytes(incoming, maxBytes)
  const text = decode(bytes)
  checkJsonText(text, 'the body')
  // To look at, to read and to check a large body take about as long each, so other requests get their turns in between.
  const isLarge = bytes.length > LARGE_BYTES
  if (isLarge) await nextTurn()
  const value: unknown = JSON.parse(text)
  if (isLarge) await nextTurn()
  return value
}

function checkType(headers: IncomingMessage['headers']): void {
  const type = headers['content-type'] ?? ''
  const encoding = headers['content-encoding'] ?? 'identity'
  if (!/^application\/json *(?:; *charset="?utf-8"? *)?$/i.test(type.trim())) {
    throw new PoolError(
      'UNSUPPORTED_MEDIA_TYPE',
      'Content-Type: expected application/json (UTF-8), got another or none',
    )
  }
  if (encoding.toLowerCase() !== 'identity') {
    throw new PoolError('UNSUPPORTED_MEDIA_TYPE', 'Content-Encoding: expected none, got one')
  }
}

function tooLarge(maxBytes: number): PoolError {
  return new PoolError('TOO_LARGE', `the body: expected at most ${maxBytes} bytes, got more`)
}

function readBytes(incoming: IncomingMessage, maxBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const body = createGrowingBuffer(maxBytes)
    const take = (chunk: Buffer) => {
      try {
        body.add(chunk)
      } catch (error) {
        settle(() => reject(error))
      }
    }
    const done = () => settle(() => resolve(body.bytes()))
    const broken = () =>
      settle(() => reject(new PoolError('INVALID_PARAMS', 'the request ended before its body was complete')))
    function settle(outcome: () => void): void {
      incoming.off('data', take).off('end', done).off('error', broken).off('close', broken)
      // The server's own listener takes what is left, for a while.
      incoming.on('error', () => undefined)
      body.release()
      outcome()
    }
    incoming.on('data', take).on('end', done).on('error', broken).on('close', broken)
  })
}

function decode(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw new PoolError('INVALID_PARAMS', 'the body: expected UTF-8, got other bytes')
  }
}

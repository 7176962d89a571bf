import { expect, test } from 'vitest'

import { createSseReader } from '../../src/tgi/sse.ts'
import { answer, event, KEEP_ALIVE, tokenFrame } from './frames.ts'
import { clientOf, generate, outcomeOf } from './listen.ts'
import { serveHttp, serveStream, startStream } from './scripted-server.ts'

function readAll(chunks: readonly Buffer[]): string[] {
  const read: string[] = []
  const reader = createSseReader(
    (data) => read.push(data),
    () => read.push('overflow'),
  )
  for (const chunk of chunks) reader.push(chunk)
  return read
}

const TEXTS = ['Grüße', ' 日本', ' 👩‍👩‍👧', '\u2028', ' end']
const WIRE = Buffer.from(KEEP_ALIVE + answer(TEXTS))
const WHOLE = readAll([WIRE])

test('one chunk tells all its events', () => {
  expect(WHOLE).toHaveLength(TEXTS.length)
  expect(WHOLE.map((data) => JSON.parse(data).token.text)).toEqual(TEXTS)
})

test('an answer cut in two at any byte is the same answer, characters of many bytes included', () => {
  for (let at = 0; at <= WIRE.length; at += 1) {
    expect(readAll([WIRE.subarray(0, at), WIRE.subarray(at)]), `cut at ${at}`).toEqual(WHOLE)
  }
})

test('an answer that comes byte by byte is the same answer', () => {
  expect(readAll(Array.from(WIRE, (byte) => Buffer.from([byte])))).toEqual(WHOLE)
})

test.each([
  ['without a space after the colon', (wire: string) => wire.replaceAll('data: ', 'data:')],
  ['with CRLF', (wire: string) => wire.replaceAll('\n', '\r\n')],
  ['with bare CR', (wire: string) => wire.replaceAll('\n', '\r')],
])('lines %s read the same, cut at any byte', (_, change) => {
  const wire = Buffer.from(change(WIRE.toString()))
  for (let at = 0; at < wire.length; at += 1) {
    // A CR at the very end may be half a CRLF: the event is out by the next byte, whatever it is.
    const chunks = [wire.subarray(0, at), wire.subarray(at), Buffer.from(KEEP_ALIVE)]
    expect(readAll(chunks), `cut at ${at}`).toEqual(WHOLE)
  }
})

test('an event that never ends is told once as an overflow', () => {
  const part = Buffer.from(`data: ${'x'.repeat(1024 * 1024 + 1)}`)
  expect(readAll([part])).toEqual(['overflow'])
})

test('over a socket, an answer in many small writes is the same answer', async () => {
  const merged = await outcomeOf(generate(clientOf((await serveStream(WIRE)).url)))
  const drip = await serveHttp(async (response) => {
    startStream(response)
    response.socket?.setNoDelay(true)
    for (let at = 0; at < WIRE.length; at += 7) {
      response.write(WIRE.subarray(at, at + 7))
      await new Promise((resolve) => setImmediate(resolve))
    }
    response.end()
  })
  expect(await outcomeOf(generate(clientOf(drip.url)))).toEqual(merged)
  expect(merged.end.text).toBe(TEXTS.join(''))
})

test('an event larger than 1 MiB is malformed and the socket closed', async () => {
  const server = await serveHttp((response) => {
    startStream(response).write(event(tokenFrame(1)))
    response.write(`data: ${'x'.repeat(1024 * 1024 + 10)}`)
  })
  const heard = generate(clientOf(server.url))
  expect(await heard.failure()).toMatchObject({ kind: 'malformed' })
  expect(heard.tokens).toHaveLength(1)
  await expect.poll(server.open).toBe(0)
})

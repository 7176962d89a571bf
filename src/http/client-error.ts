import type { IncomingMessage } from 'node:http'
import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import { PoolError } from '../contract/error.ts'
import type { ErrorKind } from '../contract/error.ts'
import { errorEnvelope } from './envelope.ts'

/** Node's code for a request that came too slowly. */
export const REQUEST_LATE = 'ERR_HTTP_REQUEST_TIMEOUT'

/** Connections with a fault that waits for the answers to earlier requests. */
const waiting = new WeakSet<Socket>()

/**
 * Answers a request that Node could not read (headers too large or too slow, no HTTP at all) with the same envelope as
 * every other error, and closes the connection. Earlier requests of the connection get their answers first; one that is being sent is
 * cut, since it may be an event stream.
 *
 * @param code Node's code for the fault.
 */
export function answerClientError(code: string | undefined, socket: Socket): void {
  if (waiting.has(socket)) return
  const answer = answerOn(socket)
  const cut = answer?.headersSent === true && !answer.writableEnded
  if (!socket.writable || code === 'ECONNRESET' || cut) {
    socket.destroy()
    return
  }
  // A request that is complete is not the one at fault.
  if (answer?.req.complete === true) {
    waiting.add(socket)
    answer.once('finish', () => {
      waiting.delete(socket)
      answerClientError(code, socket)
    })
    return
  }
  const fault = faultOf(code)
  const body = JSON.stringify(errorEnvelope(fault))
  socket.end(
    `HTTP/1.1 ${fault.status} ${STATUS_CODES[fault.status] ?? ''}\r\n` +
      'Content-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n' +
      `Connection: close\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}

interface UnfinishedAnswer {
  readonly headersSent: boolean
  readonly writableEnded: boolean
  readonly req: IncomingMessage
  once(event: 'finish', listener: () => void): void
}

/** Node keeps the answer that is under way on its socket (lib/_http_server.js, socketOnError, looks there too). */
function answerOn(socket: Socket): UnfinishedAnswer | undefined {
  const { _httpMessage: answer } = socket as { _httpMessage?: UnfinishedAnswer | null }
  return answer ?? undefined
}

/** Node's codes (doc/api/errors.md) for what it distinguishes; anything else is not HTTP. */
const FAULTS: Readonly<Record<string, [ErrorKind, string]>> = {
  HPE_HEADER_OVERFLOW: ['HEADERS_TOO_LARGE', 'the headers are too large: expected at most 16 KiB in all'],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: ['TOO_LARGE', 'the chunk extensions are too large'],
  [REQUEST_LATE]: ['REQUEST_TIMEOUT', 'the request came too slowly'],
}

function faultOf(code: string = 'unknown'): PoolError {
  const [kind, message] = FAULTS[code] ?? ['INVALID_PARAMS', `the request is no HTTP/1.1 (${code})`]
  return new PoolError(kind, message)
}

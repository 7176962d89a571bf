import type { Socket } from 'node:net'
import { STATUS_CODES } from 'node:http'
import { PoolError } from '../contract/error.ts'
import type { ErrorKind } from '../contract/error.ts'
import { errorEnvelope } from './envelope.ts'

/**
 * Answers a request that Node could not read (headers too large or too slow, no HTTP at all) with the same envelope as
 * every other error, and closes the connection. Where an answer is on its way already it is cut.
 */
export function answerClientError(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET' || hasAnswered(socket)) {
    socket.destroy()
    return
  }
  const fault = faultOf(error.code)
  const body = JSON.stringify(errorEnvelope(fault))
  socket.end(
    `HTTP/1.1 ${fault.status} ${STATUS_CODES[fault.status] ?? ''}\r\n` +
      'Content-Type: application/json\r\nX-Content-Type-Options: nosniff\r\n' +
      `Connection: close\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
  )
}

/** Node hangs the answer that is under way on its socket (lib/_http_server.js, socketOnError, looks there too). */
function hasAnswered(socket: Socket): boolean {
  const { _httpMessage: answer } = socket as { _httpMessage?: { headersSent?: boolean } | null }
  return answer?.headersSent === true
}

/** Node's codes (doc/api/errors.md) for what it can tell apart; all else is no HTTP. */
const FAULTS: Readonly<Record<string, [ErrorKind, string]>> = {
  HPE_HEADER_OVERFLOW: ['HEADERS_TOO_LARGE', 'the headers are too large: expected at most 16 KiB in all'],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: ['TOO_LARGE', 'the chunk extensions are too large'],
  ERR_HTTP_REQUEST_TIMEOUT: ['REQUEST_TIMEOUT', 'the request came too slowly'],
}

function faultOf(code: string = 'unknown'): PoolError {
  const [kind, message] = FAULTS[code] ?? ['INVALID_PARAMS', `the request is no HTTP/1.1 (${code})`]
  return new PoolError(kind, message)
}

import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

/** What is done with requests. */
export interface TurnOptions {
  /** Called for each request when every earlier one of its connection has been answered. */
  readonly answer: (incoming: IncomingMessage, outgoing: ServerResponse) => void
  /** Called for a request that had to wait and whose body is not complete `bodyMs` after its turn began. */
  readonly onLate: (socket: Socket) => void
  readonly bodyMs: number
}

/** The requests of all connections, each in its turn. */
export interface Turns {
  take(incoming: IncomingMessage, outgoing: ServerResponse): void
  /** Whether a request waits whose body is not complete: it is not read yet, so it is not late. */
  delays(socket: Socket): boolean
}

/** Requests that wait on one connection. */
interface Line {
  length: number
  last: IncomingMessage
}

/**
 * Number of requests that may wait on a connection before reading stops. The chunk that has been read by then, at most 64 KiB, is
 * still parsed.
 */
const READ_AHEAD = 16
/**
 * Number of requests that may wait on all connections together; a connection that exceeds it is closed. At some 2 KB each they take
 * 40 MB. Only floods come near it: a chunk holds up to 3,600 of the smallest requests, and some 500 of a real client.
 */
const MAX_WAITING = 20_000

/**
 * Answers the requests of a connection one at a time, in order. A client may send requests before it has the answers to earlier ones
 * (pipelining, RFC 9112, section 9.3.2). Node calls its listener for all of them at once and only sends their answers in order. So
 * one connection could hold thousands of event streams, and none of those behind the first would learn that the client has left.
 */
export function createTurns({ answer, onLate, bodyMs }: TurnOptions): Turns {
  const lines = new WeakMap<Socket, Line>()
  let total = 0

  function lineOf(socket: Socket, incoming: IncomingMessage): Line {
    const known = lines.get(socket)
    if (known !== undefined) return known
    const line = { length: 0, last: incoming }
    lines.set(socket, line)
    // Node's parser resumes the socket after each request.
    socket.on('resume', () => {
      if (line.length > READ_AHEAD) socket.pause()
    })
    socket.once('close', () => {
      total -= line.length
      line.length = 0
    })
    return line
  }

  return {
    take(incoming, outgoing) {
      // An answer gets the socket when the answer before it has been sent.
      if (outgoing.socket !== null) {
        answer(incoming, outgoing)
        return
      }
      const { socket } = incoming
      if (total >= MAX_WAITING) socket.destroy()
      // The rest of a chunk comes even then.
      if (socket.destroyed) return
      const line = lineOf(socket, incoming)
      line.length += 1
      line.last = incoming
      total += 1
      if (line.length > READ_AHEAD) socket.pause()
      outgoing.once('socket', () => {
        line.length -= 1
        total -= 1
        if (line.length <= READ_AHEAD) socket.resume()
        // Node's own time limit ran while the body could not be read.
        if (!incoming.complete) {
          const late = setTimeout(() => {
            if (!incoming.complete) onLate(socket)
          }, bodyMs)
          outgoing.once('close', () => clearTimeout(late))
        }
        // Hundreds of short answers in a row would block all other connections.
        setImmediate(() => answer(incoming, outgoing))
      })
    },
    delays(socket) {
      const line = lines.get(socket)
      return line !== undefined && line.length > 0 && !line.last.complete
    },
  }
}

import { buildConnector } from 'undici'

import type { TgiAddress } from './address.ts'
import { createConnection } from './connection.ts'
import type { HttpConnection } from './connection.ts'
import { TgiError } from './error.ts'
import type { HttpStage } from './http-fault.ts'
import { faultOf } from './http-fault.ts'
import { retryAfterMsOf } from './retry-after.ts'

/** One request to one server. */
export interface HttpRequest {
  readonly method: 'GET' | 'POST'
  /** The route, from its slash; the server's prefix is put in front. */
  readonly path: string
  /** Sent as JSON. */
  readonly body?: string | undefined
  /** A longer answer is a fault (bytes); absent: no bound. */
  readonly maxBytes?: number | undefined
}

/** Status and headers of a response. */
export interface HttpHead {
  readonly status: number
  /** Empty if there is none. */
  readonly contentType: string
  /** `Retry-After` (ms), if any. */
  readonly retryAfterMs: number | undefined
}

/** Callbacks of an exchange. None is called after `onEnd`, `onFault` or `close()`. */
export interface HttpHandler {
  /** The request went out on the socket. */
  readonly onSent?: (() => void) | undefined
  /** Status and headers of the final response. */
  readonly onHead: (head: HttpHead) => void
  readonly onData: (chunk: Buffer) => void
  /** The body ended as HTTP says it should. */
  readonly onEnd: () => void
  readonly onFault: (fault: TgiError) => void
}

/** One request under way. */
interface HttpExchange {
  /** Closes the socket at once, whatever the state; after the end it does nothing. */
  close(): void
  /**
   * No more callbacks are wanted, and only the end of the answer is left: where it comes soon, the connection
   * waits for the next request.
   */
  leave(): void
  /** Stops reading from the socket. What was read before may still be emitted. */
  pause(): void
  /** Goes on reading, at the earliest after the code that runs now. */
  resume(): void
}

/** The way to one server: a connection for every request under way. */
export interface HttpPeer {
  send(request: HttpRequest, handler: HttpHandler): HttpExchange
  /** Breaks off what is under way (`disconnected`) and resolves when no socket is left. */
  close(): Promise<void>
}

/** How long an answer may take to end that was left (ms): its job is over, and its request is to be soon. */
const LEAVE_MS = 50

/**
 * Opens the way to a server; no connection is made yet.
 *
 * No two requests share a connection at a time, so that no probe waits behind a stream, and each can be closed by
 * itself (connection.ts). One whose answer was left at its end carries the next request of its kind: making a
 * connection is a third of the time to a first token on loopback (bench/first-byte.ts), and more over a network. The other
 * side may close it at that very moment; a request that dies so, before anything was answered, is sent once more on a
 * connection of its own.
 */
export function createPeer(address: TgiAddress, connectTimeoutMs: number): HttpPeer {
  const connector = buildConnector({ timeout: connectTimeoutMs, allowH2: false })
  const connections = new Map<HttpConnection, ((fault: TgiError) => void) | undefined>()
  const idle: HttpConnection[] = []
  const destroyed = new Set<Promise<void>>()
  let closed = false

  function destroy(connection: HttpConnection): void {
    connections.delete(connection)
    const gone = connection.destroy().finally(() => destroyed.delete(gone))
    destroyed.add(gone)
  }

  /** Keeps a connection whose answer has ended. */
  function keep(connection: HttpConnection): void {
    if (closed) return destroy(connection)
    connections.set(connection, undefined)
    idle.push(connection)
  }

  function open(): HttpConnection {
    const connection = createConnection({ address, connector })
    connection.onEnd(() => {
      // Whoever has an exchange on it hears of it by that.
      const at = idle.indexOf(connection)
      if (at < 0) return
      idle.splice(at, 1)
      destroy(connection)
    })
    return connection
  }

  return {
    send(request, handler) {
      if (closed) {
        queueMicrotask(() => handler.onFault(closedByUs(address)))
        return { close() {}, leave() {}, pause() {}, resume() {} }
      }
      const { maxBytes } = request
      const kept = maxBytes === undefined ? idle.pop() : undefined
      const first =
        kept ?? (maxBytes === undefined ? open() : createConnection({ address, connector, maxBytes }))
      const { exchange, fail, start } = createExchange(address, first, request, handler, {
        isKept: kept !== undefined,
        destroy,
        keep,
        replace(stale) {
          destroy(stale)
          const connection = open()
          connections.set(connection, fail)
          return connection
        },
      })
      connections.set(first, fail)
      // Later, so that no callback runs before the caller holds the exchange.
      queueMicrotask(start)
      return exchange
    },
    async close() {
      closed = true
      for (const fail of connections.values()) fail?.(closedByUs(address))
      idle.length = 0
      // Also one whose answer has ended a moment ago and that is about to be kept.
      for (const connection of connections.keys()) destroy(connection)
      await Promise.all(destroyed)
    },
  }
}

function closedByUs(address: TgiAddress): TgiError {
  return new TgiError('disconnected', `the client of ${address.label} was closed`)
}

/** Where an exchange's connection comes from, and what becomes of it when the exchange is over. */
interface Keeping {
  /** It has carried an exchange before. */
  readonly isKept: boolean
  readonly destroy: (connection: HttpConnection) => void
  readonly keep: (connection: HttpConnection) => void
  /** Destroys a connection and opens another one in its place. */
  readonly replace: (stale: HttpConnection) => HttpConnection
}

/** One exchange as a machine: `stage` goes forward only, `over` is set once. Long because its parts share both. */
function createExchange(
  address: TgiAddress,
  first: HttpConnection,
  request: HttpRequest,
  handler: HttpHandler,
  keeping: Keeping,
) {
  let connection = first
  let { isKept } = keeping
  let stage: HttpStage = 'connecting'
  let over = false
  /** Set while an answer that was left may still end. */
  let leaving: NodeJS.Timeout | undefined
  let paused = false
  let controller: { pause(): void; resume(): void } | undefined

  function close(): void {
    if (over) return
    over = true
    clearTimeout(leaving)
    keeping.destroy(connection)
  }

  function finish(report: () => void): void {
    if (over) return
    close()
    if (leaving === undefined) report()
  }

  function ended(): void {
    if (leaving === undefined || over) return finish(handler.onEnd)
    over = true
    clearTimeout(leaving)
    // Later, because undici is still at work on this answer.
    queueMicrotask(() => keeping.keep(connection))
  }

  const fail = (fault: TgiError) => finish(() => handler.onFault(fault))

  function start(): void {
    if (over) return
    connection.allowSocket()
    connection.client.dispatch(
      {
        method: request.method,
        path: address.prefix + request.path,
        headers: headersOf(address, request),
        body: request.body ?? null,
        // Nothing else comes on a connection that has a bound.
        reset: request.maxBytes !== undefined,
      },
      {
        onRequestStart(given) {
          connection.refuseSockets()
          stage = 'waiting'
          controller = given
          if (paused) given.pause()
        },
        onRequestSent() {
          // Later, because undici is in the middle of moving the request along: a destroy() from here would break
          // its bookkeeping, with an uncaught assertion (8.12, lib/dispatcher/client.js).
          queueMicrotask(() => {
            if (!over) handler.onSent?.()
          })
        },
        onResponseStart(_controller, status, headers) {
          // 1xx announces another head.
          if (over || status < 200) return
          stage = 'reading'
          const contentType = String(headers['content-type'] ?? '')
          handler.onHead({ status, contentType, retryAfterMs: retryAfterMsOf(headers) })
        },
        onResponseData(_controller, chunk) {
          if (!over && leaving === undefined) handler.onData(chunk)
        },
        onResponseEnd: ended,
        onResponseError(_controller, error) {
          if (over) return
          if (isKept && stage !== 'reading') sendAgain()
          else fail(faultOf(error, stage, address.label))
        },
      },
    )
  }

  /** The other side had closed the connection, or was about to, when the request was sent. */
  function sendAgain(): void {
    isKept = false
    stage = 'connecting'
    controller = undefined
    connection = keeping.replace(connection)
    // Later, because undici is still at work on what has failed.
    queueMicrotask(start)
  }

  const exchange: HttpExchange = {
    close,
    leave() {
      if (over || leaving !== undefined) return
      if (paused) return close()
      leaving = setTimeout(close, LEAVE_MS).unref()
    },
    pause() {
      paused = true
      controller?.pause()
    },
    resume() {
      paused = false
      // Later, because undici's parser is shared by all sockets and refuses to be entered twice: a token of one
      // stream may well be the reason that another goes on.
      queueMicrotask(() => {
        if (!paused && !over) controller?.resume()
      })
    },
  }
  return { exchange, fail, start }
}

function headersOf(address: TgiAddress, request: HttpRequest): Record<string, string> {
  const headers: Record<string, string> = { 'accept-encoding': 'identity' }
  if (request.body !== undefined) headers['content-type'] = 'application/json'
  if (address.authorization !== undefined) headers['authorization'] = address.authorization
  return headers
}

import { Socket } from 'node:net'

import { buildConnector, Client } from 'undici'

import type { TgiAddress } from './address.ts'
import { TgiError } from './error.ts'
import type { HttpStage } from './http-fault.ts'
import { faultOf } from './http-fault.ts'

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

/** What an exchange tells. After `onEnd`, `onFault` or `close()` nothing more is told. */
export interface HttpHandler {
  /** The request went out on the socket. */
  readonly onSent?: (() => void) | undefined
  /** The final status and its headers, names in lower case. */
  readonly onHead: (status: number, contentType: string) => void
  readonly onData: (chunk: Buffer) => void
  /** The body ended as HTTP says it should. */
  readonly onEnd: () => void
  readonly onFault: (fault: TgiError) => void
}

/** One request under way. */
interface HttpExchange {
  /** Closes the socket at once, whatever the state; after the end it does nothing. */
  close(): void
  /** Stops reading from the socket. What was read before may still be told. */
  pause(): void
  /** Goes on reading, at the earliest after the code that runs now. */
  resume(): void
}

/** The way to one server: a connection of its own for every request. */
export interface HttpPeer {
  send(request: HttpRequest, handler: HttpHandler): HttpExchange
  /** Breaks off what is under way (`disconnected`) and resolves when no socket is left. */
  close(): Promise<void>
}

/**
 * A dead connection is noticed after this much silence (ms) inside a body. TGI sends a comment every 15 s
 * (axum's KeepAlive default; router/src/server.rs, TGI 3.3.7).
 */
const BODY_TIMEOUT_MS = 60_000

/** Nobody ever sees it; made once because its stack, per request, was 3 % of a profile of 64 x 500 tokens flat out. */
const CLOSED = new Error('closed')

/**
 * Opens the way to a server; no connection is made yet.
 *
 * Every request gets an undici `Client`, so a socket, of its own. Destroying that client ends the request in every
 * state, which an abort signal on a shared pool does not: there a request that is queued or connecting lives on.
 * No reuse also means no POST on a socket that the other side has just closed, and no stream in front of a probe.
 */
export function createPeer(address: TgiAddress, connectTimeoutMs: number): HttpPeer {
  const connector = buildConnector({ timeout: connectTimeoutMs, allowH2: false })
  const open = new Map<
    HttpExchange,
    { readonly fail: (fault: TgiError) => void; readonly gone: Promise<void> }
  >()
  let closed = false

  return {
    send(request, handler) {
      if (closed) {
        queueMicrotask(() => handler.onFault(closedByUs(address)))
        return { close() {}, pause() {}, resume() {} }
      }
      const { exchange, fail, gone, start } = createExchange(address, connector, request, handler)
      open.set(exchange, { fail, gone })
      void gone.then(() => open.delete(exchange))
      // Later, so that nothing is told before the caller holds the exchange.
      queueMicrotask(start)
      return exchange
    },
    async close() {
      closed = true
      const left = [...open.values()]
      for (const { fail } of left) fail(closedByUs(address))
      await Promise.all(left.map(({ gone }) => gone))
    },
  }
}

function closedByUs(address: TgiAddress): TgiError {
  return new TgiError('disconnected', `the client of ${address.label} was closed`)
}

/** One exchange as a machine: `stage` goes forward only, `over` is set once. Long because its parts share both. */
function createExchange(
  address: TgiAddress,
  connector: buildConnector.connector,
  request: HttpRequest,
  handler: HttpHandler,
) {
  let stage: HttpStage = 'connecting'
  let over = false
  let paused = false
  let socket: Socket | undefined
  let controller: { pause(): void; resume(): void } | undefined
  const { promise: gone, resolve: markGone } = Promise.withResolvers<void>()

  const client = new Client(address.origin, {
    allowH2: false,
    pipelining: 0,
    headersTimeout: 0,
    bodyTimeout: BODY_TIMEOUT_MS,
    maxResponseSize: request.maxBytes ?? -1,
    connect(options, callback) {
      if (socket !== undefined) {
        // undici reconnects when a socket dies before its request is written; nothing here is ever sent twice.
        callback(new Error('the connection closed before the request was sent'), null)
        return
      }
      // The connector gives its socket back although its type does not say so: the only handle on a connection
      // that is still being made (undici 8.12, lib/core/connect.js).
      const made: unknown = connector(options, (...args) => {
        if (args[0] === null) stage = 'waiting'
        callback(...args)
      })
      if (made instanceof Socket) socket = made
    },
  })

  function close(): void {
    if (over) return
    over = true
    const destroyed = client.destroy(CLOSED)
    // With an error, so that undici's connector drops its timer; where the client knew the socket it is a no-op.
    socket?.destroy(CLOSED)
    void destroyed.then(() =>
      socket === undefined || socket.closed ? markGone() : socket.once('close', markGone),
    )
  }

  function finish(tell: () => void): void {
    if (over) return
    close()
    tell()
  }

  const fail = (fault: TgiError) => finish(() => handler.onFault(fault))

  function start(): void {
    if (over) return
    client.dispatch(
      {
        method: request.method,
        path: address.prefix + request.path,
        headers: headersOf(address, request),
        body: request.body ?? null,
      },
      {
        onRequestStart(given) {
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
          handler.onHead(status, String(headers['content-type'] ?? ''))
        },
        onResponseData(_controller, chunk) {
          if (!over) handler.onData(chunk)
        },
        onResponseEnd: () => finish(handler.onEnd),
        onResponseError: (_controller, error) => fail(faultOf(error, stage, address.label)),
      },
    )
  }

  const exchange: HttpExchange = {
    close,
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
  return { exchange, fail, gone, start }
}

function headersOf(address: TgiAddress, request: HttpRequest): Record<string, string> {
  const headers: Record<string, string> = { 'accept-encoding': 'identity' }
  if (request.body !== undefined) headers['content-type'] = 'application/json'
  if (address.authorization !== undefined) headers['authorization'] = address.authorization
  return headers
}

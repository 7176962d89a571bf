import { RequestError, getRequestListener } from '@hono/node-server'
import type { HttpBindings } from '@hono/node-server'
import type { Hono } from 'hono'
import { createServer } from 'node:http'
import type { IncomingMessage, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { PoolError } from '../contract/error.ts'
import { within } from '../runtime/within.ts'
import { REQUEST_LATE, answerClientError } from './client-error.ts'
import { errorEnvelope } from './envelope.ts'
import { isProbe } from './health.ts'
import { findHostFault } from './host.ts'
import { listen } from './listen.ts'
import { createTurns } from './turns.ts'

/** Node's raw request and response, as Hono handlers can reach them. */
export interface HttpEnv {
  readonly Bindings: HttpBindings
}

/** Options of an HTTP server. */
export interface HttpServerOptions {
  readonly app: Hono<HttpEnv>
  /** @defaultValue `127.0.0.1` */
  readonly host?: string | undefined
  /** 0 picks a free one. */
  readonly port: number
  /** The setting to change if the port cannot be bound. @defaultValue `--port` */
  readonly portSetting?: string | undefined
  /** The same for the host. @defaultValue `--host` */
  readonly hostSetting?: string | undefined
  /** Called first for every request, even malformed ones; headers set here are on every response. */
  readonly onRequest?: ((incoming: IncomingMessage, outgoing: ServerResponse) => void) | undefined
}

/** A server that listens. */
export interface HttpServer {
  readonly host: string
  readonly port: number
  /** e.g. `http://127.0.0.1:8080` */
  readonly url: string
  /**
   * Refuses new requests, lets open ones finish for `graceMs`, then closes them. Idempotent; a later call without grace closes
   * them at once. @defaultValue 0
   */
  close(graceMs?: number): Promise<void>
}

/**
 * The limits of all our HTTP servers. A slow sender (slow loris) is disconnected after the time for headers, or for the
 * whole request; the time for a response is not limited.
 */
const LIMITS = {
  /** All headers of a request (bytes). */
  maxHeaderSize: 16 * 1024,
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  /** Longer than the 60 s of balancers, which would otherwise send into a connection that is closing. */
  keepAliveTimeout: 75_000,
  /** A probe may send no Host; host.ts checks it for the rest. */
  requireHostHeader: false,
  /** How often Node looks for requests that are late. */
  connectionsCheckingInterval: 1000,
} as const

/**
 * Serves an app; resolves when it listens.
 *
 * @throws {@link PoolError} `CONFIG` if it cannot listen there.
 */
export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { app, host = '127.0.0.1', portSetting = '--port', hostSetting = '--host' } = options
  // Its own Request and Response stay out of our globals: what else runs in this process keeps Node's.
  const answer = getRequestListener(app.fetch, {
    overrideGlobalObjects: false,
    // An HTTP/1.0 request has no Host, but fetch's Request needs a whole URL.
    hostname: 'localhost',
    errorHandler: answerUnreadable,
  })
  let closed: Promise<void> | undefined
  const turns = createTurns({
    answer(incoming, outgoing) {
      // What waits behind it goes to another server.
      if (closed !== undefined) outgoing.shouldKeepAlive = false
      options.onRequest?.(incoming, outgoing)
      const fault = findHostFault(incoming, isProbe(incoming.url ?? ''))
      if (fault === undefined) void answer(incoming, outgoing)
      else refuse(outgoing, fault)
    },
    onLate: (socket) => answerClientError(REQUEST_LATE, socket),
    bodyMs: LIMITS.requestTimeout,
  })
  const server = createServer(LIMITS)
  // Without a listener of its own Node answers an odd Expect with an empty 417; it may be ignored as well (RFC 9110, 10.1.1).
  for (const name of ['request', 'checkExpectation'] as const) {
    server.on(name, (incoming: IncomingMessage, outgoing: ServerResponse) => turns.take(incoming, outgoing))
  }
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    if (error.code !== REQUEST_LATE || !turns.delays(socket)) answerClientError(error.code, socket)
  })
  const port = await listen(server, { host, port: options.port, portSetting, hostSetting })
  return {
    host,
    port,
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    close(graceMs = 0) {
      if (closed !== undefined && graceMs === 0) server.closeAllConnections()
      closed ??= close(server, graceMs)
      return closed
    },
  }
}

/** Refuses a request and closes its connection: what follows on it may be something else than its sender meant. */
function refuse(outgoing: ServerResponse, fault: PoolError): void {
  const body = JSON.stringify(errorEnvelope(fault))
  outgoing
    .writeHead(fault.status, {
      'Content-Type': 'application/json',
      'Content-Length': Buffer.byteLength(body),
      Connection: 'close',
    })
    .end(body)
}

/** What no app has answered: a request that cannot be made one of fetch's, as a rule. */
function answerUnreadable(cause: unknown): Response {
  const error =
    cause instanceof RequestError
      ? new PoolError('INVALID_PARAMS', 'the request: expected a path and a Host header that are valid')
      : new PoolError('INTERNAL', 'an unexpected fault', { cause })
  return Response.json(errorEnvelope(error), { status: error.status })
}

async function close(server: Server, graceMs: number): Promise<void> {
  const ended = new Promise<void>((resolve) => server.close(() => resolve()))
  // A connection whose last answer ends only now would be kept for the next request.
  const idle = setInterval(() => server.closeIdleConnections(), 50)
  server.closeIdleConnections()
  if (!(await within(ended, graceMs))) server.closeAllConnections()
  await ended
  clearInterval(idle)
}

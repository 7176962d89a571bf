import { createAdaptorServer } from '@hono/node-server'
import type { HttpBindings } from '@hono/node-server'
import type { Hono } from 'hono'
import type { Server } from 'node:http'
import { PoolError } from '../contract/error.ts'
import { within } from '../runtime/within.ts'

/** What an app of ours may reach of Node below Hono: the raw request and response. */
export interface HttpEnv {
  readonly Bindings: HttpBindings
}

/** What is served, and where. */
export interface HttpServerOptions {
  readonly app: Hono<HttpEnv>
  /** @defaultValue `127.0.0.1` */
  readonly host?: string | undefined
  /** 0 takes any free one. */
  readonly port: number
}

/** A server that listens. */
export interface HttpServer {
  readonly host: string
  readonly port: number
  /** e.g. `http://127.0.0.1:8080` */
  readonly url: string
  /** Takes nothing more, lets requests finish for `graceMs`, then cuts them. Idempotent. @defaultValue 0 */
  close(graceMs?: number): Promise<void>
}

/**
 * The limits of every door of ours. A client that sends slowly (slow loris) loses its connection after the time for
 * headers, or for the whole request; nothing bounds how long an answer may take.
 */
const LIMITS = {
  /** All headers of a request (bytes). */
  maxHeaderSize: 16 * 1024,
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 5_000,
  /** How often Node looks for requests that are late. */
  connectionsCheckingInterval: 1000,
} as const

/**
 * Serves an app; resolves when it listens.
 *
 * @throws {@link PoolError} `CONFIG` when the address cannot be had.
 */
export async function startHttpServer(options: HttpServerOptions): Promise<HttpServer> {
  const { app, host = '127.0.0.1' } = options
  const server = createAdaptorServer({ fetch: app.fetch, serverOptions: LIMITS }) as Server
  const port = await listen(server, host, options.port)
  let closed: Promise<void> | undefined
  return {
    host,
    port,
    url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`,
    close(graceMs = 0) {
      closed ??= close(server, graceMs)
      return closed
    },
  }
}

async function listen(server: Server, host: string, port: number): Promise<number> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      reject(
        new PoolError('CONFIG', `cannot listen on ${host}:${port}: ${cause.code ?? 'unknown'}`, { cause }),
      )
    })
    server.listen(port, host, resolve)
  })
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : port
}

async function close(server: Server, graceMs: number): Promise<void> {
  const ended = new Promise<void>((resolve) => server.close(() => resolve()))
  server.closeIdleConnections()
  if (!(await within(ended, graceMs))) server.closeAllConnections()
  await ended
}

import { once } from 'node:events'
import type { IncomingHttpHeaders, ServerResponse } from 'node:http'
import { createServer as createHttpServer } from 'node:http'
import type { Server, Socket } from 'node:net'
import { createServer as createTcpServer } from 'node:net'
import { text } from 'node:stream/consumers'

import { onTestFinished } from 'vitest'

/** A request as the server saw it. */
export interface SeenRequest {
  readonly method: string
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: string
  /** Its connection is closed. */
  readonly closed: () => boolean
}

/** A server that does as told, for one test. */
export interface ScriptedServer {
  readonly url: string
  readonly requests: readonly SeenRequest[]
  /** Answers that it has sent to their end. */
  readonly answered: () => number
  /** Connections that are open now. */
  readonly open: () => number
  /** Connections ever made. */
  readonly accepted: () => number
  /** Bytes that came in over all connections. */
  readonly received: () => number
}

/** An HTTP server on a free loopback port; gone when the test is over. */
export async function serveHttp(
  script: (response: ServerResponse, request: SeenRequest) => void | Promise<void>,
): Promise<ScriptedServer> {
  const requests: SeenRequest[] = []
  let answered = 0
  const server = createHttpServer((request, response) => {
    const { socket } = request
    let closed = false
    socket.once('close', () => (closed = true))
    response.once('finish', () => (answered += 1))
    void (async () => {
      const seen: SeenRequest = {
        method: request.method ?? '',
        path: request.url ?? '',
        headers: request.headers,
        body: await text(request),
        closed: () => closed,
      }
      requests.push(seen)
      await script(response, seen)
    })().catch(() => socket.destroy())
  })
  return { ...(await listen(server)), requests, answered: () => answered }
}

/** A TCP server on a free loopback port; gone when the test is over. */
export async function serveTcp(script: (socket: Socket) => void): Promise<ScriptedServer> {
  const server = createTcpServer(script)
  return { ...(await listen(server)), requests: [], answered: () => 0 }
}

async function listen(server: Server): Promise<Omit<ScriptedServer, 'requests' | 'answered'>> {
  const sockets = new Set<Socket>()
  let accepted = 0
  let received = 0
  server.on('connection', (socket: Socket) => {
    accepted += 1
    sockets.add(socket)
    socket.on('error', () => {})
    socket.once('close', () => {
      received += socket.bytesRead
      sockets.delete(socket)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(async () => {
    const closed = once(server, 'close')
    server.close()
    for (const socket of sockets) socket.destroy()
    await closed
  })
  return {
    url: urlOf(server),
    open: () => sockets.size,
    accepted: () => accepted,
    received: () => [...sockets].reduce((sum, socket) => sum + socket.bytesRead, received),
  }
}

function urlOf(server: Server): string {
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('the server does not listen')
  return `http://127.0.0.1:${address.port}`
}

/** An address on which nobody listens any more. */
export async function unusedUrl(): Promise<string> {
  const server = createTcpServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const url = urlOf(server)
  server.close()
  await once(server, 'close')
  return url
}

/** Sends the head of an event stream. */
export function startStream(response: ServerResponse): ServerResponse {
  response.writeHead(200, { 'content-type': 'text/event-stream', 'cache-control': 'no-cache' })
  response.flushHeaders()
  return response
}

/** A server that answers every request with one event stream and a clean end. */
export async function serveStream(body: string | Buffer): Promise<ScriptedServer> {
  return serveHttp((response) => void startStream(response).end(body))
}

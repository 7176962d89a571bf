/**
 * A server of your own: `POST /ask` with a prompt, then an `EventSource` on the `events` it answers.
 *
 *     REDIS_URL=redis://127.0.0.1:6379 TGI_POOL=p PORT=8701 node examples/node/sse-server.ts
 */
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { pipeline } from 'node:stream/promises'
import { openPool, PoolError, sseResponse } from 'tgi-pool'

const pool = await openPool({ pool: process.env['TGI_POOL'] ?? 'p' })

async function ask(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const { job_id } = await pool.enqueue({ inputs: await text(request), parameters: { max_new_tokens: 100 } })
  response.writeHead(202, { 'Content-Type': 'application/json' })
  response.end(JSON.stringify({ events: `/events/${job_id}` }))
}

async function events(jobId: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const after = request.headers['last-event-id']?.toString()
  const { status, headers, body } = await sseResponse(pool, jobId, { after })
  response.writeHead(status, Object.fromEntries(headers))
  // When the client leaves, the reading ends; the job does not.
  await pipeline(body ? Readable.fromWeb(body) : [], response)
}

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const jobId = /^\/events\/([^/?]+)$/.exec(request.url ?? '')?.[1]
  try {
    if (request.method === 'POST' && request.url === '/ask') await ask(request, response)
    else if (request.method === 'GET' && jobId !== undefined) await events(jobId, request, response)
    else response.writeHead(404).end()
  } catch (error) {
    if (response.headersSent) response.destroy()
    else if (error instanceof PoolError)
      response.writeHead(error.status).end(`${error.kind}: ${error.message}\n`)
    else response.writeHead(500).end()
  }
}

const server = createServer((request, response) => void answer(request, response))
server.listen(Number(process.env['PORT'] ?? 8701), '127.0.0.1', () => console.error('listening'))
process.once('SIGTERM', () => {
  server.close(() => void pool.close())
  server.closeAllConnections()
})

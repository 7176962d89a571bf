/**
 * Serves the events of jobs to an `EventSource`: `new EventSource('http://127.0.0.1:3000/<job id>')`. It reconnects after a lost
 * connection and misses nothing.
 *
 *     REDIS_URL=redis://127.0.0.1:6379 TGI_POOL=p PORT=3000 node examples/node/event-source.ts
 */
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { openPool, sseResponse } from 'tgi-pool'

const pool = await openPool({ pool: process.env['TGI_POOL'] ?? 'p' })

async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const jobId = request.url?.slice(1) ?? ''
  const after = request.headers['last-event-id']?.toString()
  const { status, headers, body } = await sseResponse(pool, jobId, { after })
  response.writeHead(status, Object.fromEntries(headers))
  // The client may disconnect at any time; the job continues.
  await pipeline(body ? Readable.fromWeb(body) : [], response).catch(() => undefined)
}

const server = createServer((request, response) => void answer(request, response))
server.listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1')

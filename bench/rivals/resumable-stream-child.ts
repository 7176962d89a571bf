/** A handler of `resumable_stream`: `POST /streams/<id>` begins an answer, `GET /streams/<id>?skip=N` resumes one. */
import { createServer } from 'node:http'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { Redis } from 'ioredis'
import { createResumableStreamContext } from 'resumable-stream/ioredis'
import { countCommands, serveParent } from '../support/weighed-child.ts'
import { NOTHING_TO_READ } from './resumable-stream.ts'
import type { RivalSettings } from './rival.ts'
import { tgiBody } from './tgi-answers.ts'

const { redisUrl, replicaUrl, counted } = JSON.parse(process.argv[2] ?? '{}') as RivalSettings
if (counted) countCommands()
const context = createResumableStreamContext({
  // The process stays: nothing has to keep it alive.
  waitUntil: null,
  publisher: new Redis(redisUrl),
  subscriber: new Redis(redisUrl),
})
let busy = 0

async function answer(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  const url = new URL(incoming.url ?? '/', 'http://handler')
  const tag = url.pathname.split('/').at(-1) ?? ''
  const stream =
    incoming.method === 'POST'
      ? await begin(tag, await text(incoming))
      : await context.resumeExistingStream(tag, Number(url.searchParams.get('skip')))
  if (stream === null || stream === undefined) {
    outgoing.writeHead(NOTHING_TO_READ).end('Stream is already done')
    return
  }
  outgoing.writeHead(200, { 'content-type': 'text/event-stream' })
  const reader = stream.getReader()
  outgoing.once('close', () => void reader.cancel().catch(() => undefined))
  for (let next = await reader.read(); !next.done; next = await reader.read()) outgoing.write(next.value)
  outgoing.end()
}

async function begin(tag: string, body: string): Promise<ReadableStream<string> | null> {
  const { tokens } = JSON.parse(body) as { tokens: number }
  const response = await fetch(`${replicaUrl}/generate_stream`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: tgiBody(tag, tokens),
  })
  if (!response.ok || response.body === null) throw new Error(`the replica answered ${response.status}`)
  const replica = response.body.pipeThrough(new TextDecoderStream())
  return context.createNewResumableStream(tag, () => replica)
}

const server = createServer((incoming, outgoing) => {
  busy += 1
  answer(incoming, outgoing)
    .catch((error: unknown) => {
      if (outgoing.headersSent) outgoing.destroy()
      else outgoing.writeHead(500).end(String(error))
    })
    .finally(() => {
      busy -= 1
    })
})
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
serveParent({
  url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
  busy: () => busy,
  stop: async () => process.exit(0),
})

/**
 * The baseline: events over HTTP as they are often served, a Redis connection and a blocking XREAD for each subscriber.
 * `GET /v1/jobs/<id>/events?pool=<pool>`, without any of the checks that a gateway makes.
 */
import { createServer } from 'node:http'
import type { ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Redis } from 'ioredis'
import { poolKeys } from '../../src/contract/keys.ts'
import { serveParent } from '../support/weighed-child.ts'
import type { GatewaySettings } from './gateway-process.ts'

const { redisUrl } = JSON.parse(process.argv[2] ?? '{}') as GatewaySettings
let open = 0

async function follow(key: string, outgoing: ServerResponse): Promise<void> {
  const redis = new Redis(redisUrl)
  redis.on('error', () => undefined)
  outgoing.once('close', () => redis.disconnect())
  outgoing.writeHead(200, { 'content-type': 'text/event-stream' })
  open += 1
  let cursor = '0'
  while (!outgoing.destroyed) {
    const reply = await redis.xread('BLOCK', 5000, 'STREAMS', key, cursor)
    let text = ''
    for (const [id, [, event = '', , data = '']] of reply?.[0]?.[1] ?? []) {
      cursor = id
      text += `id: ${id}\nevent: ${event}\ndata: ${data}\n\n`
    }
    if (text !== '') outgoing.write(text)
  }
}

const server = createServer((incoming, outgoing) => {
  const url = new URL(incoming.url ?? '/', 'http://gateway')
  const key = poolKeys(url.searchParams.get('pool') ?? '').events(url.pathname.split('/')[3] ?? '')
  follow(key, outgoing)
    .catch(() => outgoing.destroy())
    .finally(() => {
      open -= 1
    })
})
await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
serveParent({
  url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
  busy: () => open,
  stop: async () => process.exit(0),
})

/** The worker of `bullmq_xadd`, with BullMQ's own times. */
import { Worker } from 'bullmq'
import { Redis } from 'ioredis'
import { countCommands, serveParent } from '../support/weighed-child.ts'
import { afternoonKey } from './bullmq-xadd.ts'
import type { AfternoonEvent, AfternoonJob } from './bullmq-xadd.ts'
import type { RivalSettings } from './rival.ts'
import { tgiBody, tgiFrames } from './tgi-answers.ts'

const HOUR_S = 3600

const { redisUrl, replicaUrl, slots, counted } = JSON.parse(process.argv[2] ?? '{}') as RivalSettings
if (counted) countCommands()
const redis = new Redis(redisUrl)
let busy = 0

async function generate({ tag, tokens }: AfternoonJob): Promise<void> {
  const key = afternoonKey(tag)
  const add = (event: AfternoonEvent) => redis.xadd(key, '*', 'data', JSON.stringify(event))
  let index = 0
  for await (const frame of tgiFrames(replicaUrl, tgiBody(tag, tokens))) {
    await add({ type: 'token', index, text: frame.token.text })
    index += 1
    if (frame.generated_text !== null) await add({ type: 'end', text: frame.generated_text })
  }
  await redis.expire(key, HOUR_S)
}

const worker = new Worker<AfternoonJob>(
  'generate',
  async ({ data }) => {
    busy += 1
    try {
      await generate(data)
    } finally {
      busy -= 1
    }
  },
  { connection: new Redis(redisUrl, { maxRetriesPerRequest: null }), concurrency: slots },
)
worker.on('error', () => undefined)
await worker.waitUntilReady()
serveParent({
  busy: () => busy,
  async stop() {
    await worker.close(true)
    process.exit(0)
  },
})

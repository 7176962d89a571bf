import { Queue } from 'bullmq'
import { KEYS, test as base } from './lab.ts'

/** `test` with the pool's queue as any program with BullMQ sees it. */
export const test = base.extend('queue', async ({ lab }, { onCleanup }): Promise<Queue> => {
  const queue = new Queue('jobs', { connection: { url: lab.redisUrl }, prefix: KEYS.queuePrefix })
  await queue.waitUntilReady()
  onCleanup(() => queue.close())
  return queue
})

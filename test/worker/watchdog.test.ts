import { Queue } from 'bullmq'
import { describe, expect, onTestFinished, test } from 'vitest'
import { poolKeys } from '../../src/contract/keys.ts'
import type * as consumerModule from '../../src/queue/consumer.ts'
import { connectToServer, disconnectRedis } from '../../src/redis/connect.ts'
import { SOURCES } from '../stream/property/modules.ts'
import { copyMutant } from '../stream/property/mutant.ts'
import { startOwnRedis } from '../support/own-redis.ts'
import { freeze } from '../support/signals.ts'

const LOCK_MS = 1000
const KEYS = poolKeys('p')

/** Runs a job, freezes Redis, and tells whether the job hears within one and a half locks that its lock is lost. */
async function hearsOfLostLock(folder: URL): Promise<boolean> {
  const path = new URL('queue/consumer.ts', folder).pathname
  const { startConsumer } = (await import(/* @vite-ignore */ path)) as typeof consumerModule
  const { server } = await startOwnRedis()
  const connection = await connectToServer(server.url, { role: 'queue', onError: () => undefined })
  const running = Promise.withResolvers<AbortSignal>()
  const over = Promise.withResolvers<void>()
  const consumer = startConsumer({
    connection,
    keys: KEYS,
    slots: 1,
    lockMs: LOCK_MS,
    stalledIntervalMs: 60_000,
    async run({ lockLost }) {
      running.resolve(lockLost)
      await over.promise
      return { kind: 'over' }
    },
    maxDeaths: () => 10,
    giveUp: async () => true,
    onError: () => undefined,
  })
  const queue = new Queue('jobs', { connection: { url: server.url }, prefix: KEYS.queuePrefix })
  queue.on('error', () => undefined)
  onTestFinished(async () => {
    over.resolve()
    await consumer.close()
    await queue.close()
    disconnectRedis(connection)
  })
  consumer.open()
  await queue.add('generate', {}, { jobId: 'j' })
  const lockLost = await running.promise
  const thaw = freeze(server.pid)
  const heard = await Promise.race([
    new Promise<true>((resolve) => lockLost.addEventListener('abort', () => resolve(true))),
    new Promise<false>((resolve) => setTimeout(() => resolve(false), 1.5 * LOCK_MS)),
  ])
  thaw()
  return heard
}

describe('the watch over locks', () => {
  test('tells an attempt in time that nobody renews its lock any more', async () => {
    expect(await hearsOfLostLock(SOURCES)).toBe(true)
  })

  test('is what tells it: without the watch nothing does', async () => {
    const copy = await copyMutant({
      file: 'queue/locks.ts',
      text: 'if (now >= lock.until) lock.lost.abort',
      becomes: 'if (now < 0) lock.lost.abort',
    })
    onTestFinished(() => copy.remove())
    expect(await hearsOfLostLock(copy.folder)).toBe(false)
  })
})

import { expect } from 'vitest'
import { START } from '../../src/contract/stream-id.ts'
import { createEventLog } from '../../src/stream/event-log.ts'
import { listenForSeals } from '../../src/stream/wake-ups.ts'
import { test } from '../support/redis.ts'
import { CANCELLED } from './entries.ts'

test('a listener hears of every seal of its pool and of no other', async ({ redis }) => {
  const sealed: string[] = []
  let subscribed = 0
  await listenForSeals({
    redis: await redis.connect('blocking'),
    keys: redis.keys,
    onSealed: (jobId) => sealed.push(jobId),
    onSubscribed: () => (subscribed += 1),
  })
  expect(subscribed).toBe(1)
  const log = createEventLog(redis.redis, redis.keys)
  const other = createEventLog(redis.redis, { ...redis.keys, cancelChannel: 'tgi-pool:{q}:cancel' })
  for (const [at, to] of [log, other, log].entries()) {
    const write = { jobId: `j${at}`, expect: START, entries: [CANCELLED], deadlineAt: 0, retentionMs: 60_000 }
    await to.write(write)
  }
  await expect.poll(() => sealed).toEqual(['j0', 'j2'])
})

test('a listener whose line was cut is told to look, and hears again', async ({ redis, proxy }) => {
  const sealed: string[] = []
  let subscribed = 0
  await listenForSeals({
    redis: await redis.connect('blocking', proxy.url),
    keys: redis.keys,
    onSealed: (jobId) => sealed.push(jobId),
    onSubscribed: () => (subscribed += 1),
  })
  proxy.cut()
  proxy.pass()
  await expect.poll(() => subscribed).toBe(2)
  await redis.redis.spublish(redis.keys.cancelChannel, 'j')
  await expect.poll(() => sealed).toEqual(['j'])
})

test('a line that breaks again as soon as it is back rejects nothing that nobody hears of', async ({
  redis,
  proxy,
}) => {
  const sealed: string[] = []
  const line = await redis.connect('blocking', proxy.url)
  await listenForSeals({
    redis: line,
    keys: redis.keys,
    onSealed: (jobId) => sealed.push(jobId),
    onSubscribed: () => undefined,
  })
  let cuts = 0
  const cut = () => {
    cuts += 1
    // vitest fails the run on an unhandled rejection, which would end a worker.
    setImmediate(() => proxy.cut())
    setTimeout(() => proxy.pass(), 30)
  }
  line.on('ready', cut)
  proxy.cut()
  proxy.pass()
  await expect.poll(() => cuts).toBeGreaterThan(5)
  line.off('ready', cut)
  proxy.pass()
  await expect
    .poll(async () => {
      await redis.redis.spublish(redis.keys.cancelChannel, 'j')
      return sealed.length
    })
    .toBeGreaterThan(0)
})

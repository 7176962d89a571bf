import { UnrecoverableError } from 'bullmq'
import type { Job } from 'bullmq'
import { expect } from 'vitest'
import { openHeldBytes } from '../../src/queue/held-bytes.ts'
import { openJobQueue } from '../../src/queue/job-queue.ts'
import { openLane } from '../../src/queue/lane.ts'
import type { Lane } from '../../src/queue/lane.ts'
import { test } from '../support/redis.ts'
import type { RedisFixture } from '../support/redis.ts'

const TOKEN = 'mine'
const LOCK_MS = 60_000

const onError = (error: unknown) => expect(error).toBeUndefined()

async function openFullLane(redis: RedisFixture, ...ids: string[]): Promise<Lane> {
  const queue = openJobQueue(redis.redis, redis.keys)
  for (const id of ids) await queue.add(id, { inputs: 'x' }, 'interactive', 100)
  await queue.close()
  const connection = await redis.connect('queue')
  const { keys } = redis
  const options = { connection, keys, kind: 'interactive', lockMs: LOCK_MS, stalledIntervalMs: 50 } as const
  const lane = openLane({ ...options, onError })
  await redis.redis.config('SET', 'maxmemory', '1')
  await expect(redis.redis.set('another', 'value')).rejects.toThrow(/^OOM/)
  return lane
}

/** The next job, which must be there. */
async function take(lane: Lane): Promise<Job> {
  const taken = await lane.take(TOKEN)
  if (taken === undefined) throw new Error('no job to take')
  return taken.job
}

const WAYS: Record<string, (lane: Lane, job: Job) => Promise<unknown>> = {
  'is completed': (_, job) => job.moveToCompleted(undefined, TOKEN, false),
  'is given up': (_, job) => job.moveToFailed(new UnrecoverableError('given up'), TOKEN, false),
  'is put back with its memory, ahead of others': async (lane, job) => {
    await job.updateProgress({ hand_backs: 1 })
    await job.changePriority({ priority: job.priority - 1 })
    await job.moveToWait(TOKEN)
    await lane.wake()
  },
  'is put back for later': (_, job) => job.moveToDelayed(Date.now() + 1, TOKEN),
}

test.for(Object.entries(WAYS))(
  'a job that is taken while Redis is out of memory keeps its lock and %s',
  async ([way, leave], { redis }) => {
    const lane = await openFullLane(redis, 'a')
    const job = await take(lane)
    await redis.redis.pexpire(`${redis.keys.queuePrefix}:jobs:a:lock`, 1000)
    expect(await lane.renew([{ id: 'a', token: TOKEN }])).toEqual([])
    expect(await redis.redis.pttl(`${redis.keys.queuePrefix}:jobs:a:lock`)).toBeGreaterThan(1000)
    expect(await lane.renew([{ id: 'a', token: 'another' }])).toEqual(['a'])
    await leave(lane, job)
    const isBack = way.includes('back')
    if (isBack) await expect.poll(() => lane.take(TOKEN)).toMatchObject({ job: { id: 'a' } })
    else expect(await lane.take(TOKEN)).toBeUndefined()
    await lane.close()
  },
)

test('a job of a dead worker comes back while Redis is out of memory', async ({ redis }) => {
  const lane = await openFullLane(redis, 'a')
  await take(lane)
  await redis.redis.del(`${redis.keys.queuePrefix}:jobs:a:lock`)
  lane.watchStalled()
  await expect.poll(() => lane.take(TOKEN)).toMatchObject({ job: { id: 'a' } })
  await lane.close()
})

test('a waiting job is removed with its bytes while Redis is out of memory', async ({ redis }) => {
  const lane = await openFullLane(redis, 'a', 'b', 'c')
  const queue = openJobQueue(redis.redis, redis.keys)
  await queue.removeWaiting('b')
  expect(await queue.remove('c')).toBe(true)
  expect([await queue.holds('a'), await queue.holds('b'), await queue.holds('c')]).toEqual([
    true,
    false,
    false,
  ])
  expect(await openHeldBytes(redis.redis, redis.keys).total()).toBe(100)
  await expect(queue.add('d', { inputs: 'x' }, 'interactive', 100)).rejects.toThrow(/^OOM/)
  await Promise.all([queue.close(), lane.close()])
})

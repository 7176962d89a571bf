import { Queue } from 'bullmq'
import { describe, expect } from 'vitest'
import { OVER, test } from './stage.ts'

describe('a queue', () => {
  test('takes the same id once', async ({ stage }) => {
    await Promise.all(Array.from({ length: 5 }, () => stage.queue.add('a', { inputs: 'x' }, 'interactive')))
    expect(await stage.queue.waiting()).toEqual({ interactive: 1, batch: 0, delayed: 0 })
  })

  test('tells how many wait, by priority', async ({ stage, redis }) => {
    for (const id of ['a', 'b', 'c']) await stage.queue.add(id, {}, 'interactive')
    for (const id of ['d', 'e']) await stage.queue.add(id, {}, 'batch')
    const plain = new Queue('jobs', { connection: redis.redis, prefix: redis.keys.queuePrefix })
    await plain.add('generate', {}, { jobId: 'f' })
    await plain.add('generate', {}, { jobId: 'g', delay: 60_000 })
    // Between the two of ours: a worker runs it as interactive, so it counts as such.
    await plain.add('generate', {}, { jobId: 'h', priority: 15 })
    await plain.add('generate', {}, { jobId: 'i', priority: 21 })
    await plain.close()
    expect(await stage.queue.waiting()).toEqual({ interactive: 5, batch: 3, delayed: 1 })
  })

  test('holds what waits, is delayed or runs, and nothing else', async ({ stage }) => {
    expect(await stage.queue.holds('a')).toBe(false)
    await stage.queue.add('a', {}, 'batch')
    expect(await stage.queue.holds('a')).toBe(true)
    const { runs } = await stage.work()
    await expect.poll(() => runs.length).toBe(1)
    expect(await stage.queue.holds('a')).toBe(true)
    runs[0]?.end({ kind: 'back', delayMs: 60_000, attempt: 'spent' })
    await expect.poll(async () => (await stage.queue.waiting()).delayed).toBe(1)
    expect(await stage.queue.holds('a')).toBe(true)
    await stage.queue.removeWaiting('a')
    expect(await stage.queue.holds('a')).toBe(false)
  })

  test('removes what waits and leaves a running job to its worker', async ({ stage }) => {
    const { runs } = await stage.work()
    await stage.queue.add('a', {}, 'interactive')
    await expect.poll(() => runs.length).toBe(1)
    await stage.queue.add('b', {}, 'interactive')
    for (const id of ['a', 'b', 'nobody']) await stage.queue.removeWaiting(id)
    expect([await stage.queue.holds('a'), await stage.queue.holds('b')]).toEqual([true, false])
    expect(await runs[0]?.job.confirmLock()).toBe(true)
    runs[0]?.end(OVER)
    await expect.poll(() => stage.queue.holds('a')).toBe(false)
  })

  test('leaves only keys of its pool behind', async ({ stage, redis }) => {
    await stage.queue.add('a', {}, 'interactive')
    const found = await redis.redis.keys('*')
    expect(found.length).toBeGreaterThan(0)
    for (const key of found) expect(key).toMatch(/^tgi-pool:\{p\}:jobs:/)
  })
})

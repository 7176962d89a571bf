import { Queue } from 'bullmq'
import { describe, expect } from 'vitest'
import { POOL, KEYS } from '../support/lab.ts'
import type { Lab } from '../support/lab.ts'
import { scrape, test } from './stage.ts'

const LONG = { parameters: { max_new_tokens: 400 } }

/** A queue as a producer of another make has it. */
async function foreign<T>(lab: Lab, use: (queue: Queue) => Promise<T>): Promise<T> {
  const queue = new Queue('jobs', { connection: lab.redis, prefix: KEYS.queuePrefix })
  try {
    return await use(queue)
  } finally {
    await queue.close()
  }
}

/** Makes a job older: its `queued` is the record of when it was accepted. */
async function age(lab: Lab, jobId: string, ms: number): Promise<void> {
  const [entry] = await lab.redis.xrange(KEYS.events(jobId), '0-1', '0-1')
  const data = JSON.parse(entry?.[1][3] ?? '') as { accepted_at: number }
  await lab.redis.del(KEYS.events(jobId))
  const older = JSON.stringify({ ...data, accepted_at: data.accepted_at - ms })
  await lab.redis.xadd(KEYS.events(jobId), '0-1', 'event', 'queued', 'data', older)
}

describe('the jobs of a pool', () => {
  test('are told by state, those that wait by priority', async ({ lab, stage }) => {
    const client = await lab.client()
    const server = await stage.serve()
    const jobs = async () => {
      const told = await scrape(server)
      const count = (labels: object) => told.value('tgi_pool_jobs', { pool_id: POOL, ...labels })
      return {
        interactive: count({ state: 'waiting', priority: 'interactive' }),
        batch: count({ state: 'waiting', priority: 'batch' }),
        delayed: count({ state: 'delayed' }),
        active: count({ state: 'active' }),
      }
    }
    expect(await jobs()).toEqual({ interactive: 0, batch: 0, delayed: 0, active: 0 })
    for (const priority of ['interactive', 'batch', 'batch'] as const)
      await client.enqueue({ inputs: 'x', priority, ...LONG })
    expect(await jobs()).toEqual({ interactive: 1, batch: 2, delayed: 0, active: 0 })

    const replica = await lab.replica({ tokensPerSecond: 20 })
    await lab.worker(replica, { slots: 2 })
    await expect.poll(jobs).toEqual({ interactive: 0, batch: 1, delayed: 0, active: 2 })
    await expect
      .poll(async () => (await scrape(server)).value('tgi_pool_slots_busy', { pool_id: POOL }))
      .toBe(2)
  })

  test('of other producers count as what they run as', async ({ lab, stage }) => {
    await lab.client()
    await foreign(lab, async (queue) => {
      await queue.add('generate', {}, { jobId: 'plain' })
      await queue.add('generate', {}, { jobId: 'five', priority: 5 })
      await queue.add('generate', {}, { jobId: 'fifteen', priority: 15 })
      await queue.add('generate', {}, { jobId: 'twenty', priority: 20 })
      await queue.add('generate', {}, { jobId: 'thirty', priority: 30 })
      await queue.add('generate', {}, { jobId: 'later', delay: 60_000 })
    })
    const told = await scrape(await stage.serve())
    expect(told.value('tgi_pool_jobs', { priority: 'interactive' })).toBe(3)
    expect(told.value('tgi_pool_jobs', { priority: 'batch' })).toBe(2)
    expect(told.value('tgi_pool_jobs', { state: 'delayed' })).toBe(1)
  })

  test('are told in a handful of commands, however many wait', async ({ lab, stage }) => {
    const client = await lab.client()
    const server = await stage.serve()
    /** Of three looks the one that no beat has come into. */
    const commands = async () => {
      const counts: number[] = []
      for (let look = 0; look < 3; look += 1) {
        const before = await calls(lab)
        await scrape(server)
        counts.push((await calls(lab)) - before)
      }
      return Math.min(...counts)
    }
    await client.enqueue({ inputs: 'x' })
    await client.enqueue({ inputs: 'x', priority: 'batch' })
    for (let n = 0; n < 4; n += 1) await client.enqueue({ inputs: 'x' })
    const few = await commands()
    await Promise.all(Array.from({ length: 200 }, () => client.enqueue({ inputs: 'x' })))
    expect(await commands()).toBe(few)
    expect(few).toBeLessThan(50)
  })
})

/** How many commands the server has run for anybody. */
async function calls(lab: Lab): Promise<number> {
  const info = await lab.redis.info('stats')
  return Number(/total_commands_processed:(\d+)/.exec(info)?.[1])
}

/** How long the one that waits longest has waited (s). */
async function oldest(server: { readonly url: string }): Promise<number | undefined> {
  return (await scrape(server)).value('tgi_pool_oldest_wait_seconds', { pool_id: POOL })
}

describe('the oldest wait', () => {
  test('is 0 when nobody waits, and is counted from acceptance', async ({ lab, stage }) => {
    const client = await lab.client()
    const server = await stage.serve()
    expect(await oldest(server)).toBe(0)
    const { job_id: jobId } = await client.enqueue({ inputs: 'x' })
    await age(lab, jobId, 100_000)
    const seconds = await oldest(server)
    expect(seconds).toBeGreaterThanOrEqual(100)
    expect(seconds).toBeLessThan(160)
    await client.cancel(jobId)
    expect(await oldest(server)).toBe(0)
  })

  test('is that of a batch job when interactive ones overtake it', async ({ lab, stage }) => {
    const client = await lab.client()
    const batch = await client.enqueue({ inputs: 'x', priority: 'batch' })
    await age(lab, batch.job_id, 300_000)
    const first = await client.enqueue({ inputs: 'x' })
    await age(lab, first.job_id, 100_000)
    for (let n = 0; n < 10; n += 1) await client.enqueue({ inputs: 'x' })
    expect(await oldest(await stage.serve())).toBeGreaterThanOrEqual(300)
  })

  test('of jobs of other producers is counted from when BullMQ got them', async ({ lab, stage }) => {
    await lab.client()
    const server = await stage.serve()
    const now = Date.now()
    await foreign(lab, (queue) => queue.add('generate', {}, { jobId: 'plain', timestamp: now - 50_000 }))
    expect(await oldest(server)).toBeGreaterThanOrEqual(50)
    await foreign(lab, (queue) => queue.remove('plain'))
    // A clock that is ahead of ours.
    await foreign(lab, (queue) => queue.add('generate', {}, { jobId: 'ahead', timestamp: now + 500_000 }))
    expect(await oldest(server)).toBe(0)
    // One that is not to run yet does not wait.
    const later = { jobId: 'later', timestamp: now - 90_000, delay: 600_000 }
    await foreign(lab, (queue) => queue.add('generate', {}, later))
    expect(await oldest(server)).toBe(0)
  })

  test('counts a job that was handed back and is not due yet', async ({ lab, stage }) => {
    const client = await lab.client()
    const server = await stage.serve()
    const { job_id: jobId } = await client.enqueue({ inputs: 'x' })
    await age(lab, jobId, 200_000)
    const replica = await lab.replica({ prefillMs: 60_000 })
    const worker = await lab.worker(replica)
    await expect.poll(() => replica.seen.open).toBe(1)
    expect(await oldest(server)).toBe(0)
    await worker.stop(0)
    // As after a fault of the replica: with a delay, and nobody is there to end it.
    const queue = `${KEYS.queuePrefix}:jobs`
    expect(await lab.redis.zrem(`${queue}:prioritized`, jobId)).toBe(1)
    await lab.redis.zadd(`${queue}:delayed`, (Date.now() + 60_000) * 0x1000, jobId)
    const told = await scrape(server)
    expect(told.value('tgi_pool_jobs', { state: 'delayed' })).toBe(1)
    expect(told.value('tgi_pool_oldest_wait_seconds', { pool_id: POOL })).toBeGreaterThanOrEqual(200)
  })
})

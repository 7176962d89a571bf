import { describe, expect } from 'vitest'
import type { PoolClient } from '../../src/client/pool-client.ts'
import type { JobEvent } from '../../src/contract/event.ts'
import { idParts } from '../../src/contract/stream-id.ts'
import { collect, endOf, only, readLog, tokensIn } from '../support/job-log.ts'
import { KEYS } from '../support/lab.ts'
import { test } from '../support/plain-queue.ts'

const LONG = { inputs: 'go on', parameters: { max_new_tokens: 4000 } }
const SHORT = { inputs: 'short', parameters: { max_new_tokens: 3 } }

async function enqueueBatch(client: PoolClient, count: number, job = LONG): Promise<string[]> {
  const admissions = await Promise.all(
    Array.from({ length: count }, () => client.enqueue({ ...job, priority: 'batch' })),
  )
  return admissions.map(({ job_id: jobId }) => jobId)
}

/** How long an interactive job waited from its acceptance to its start (ms). */
async function waitOf(client: PoolClient): Promise<number> {
  const { job_id: jobId } = await client.enqueue(SHORT)
  const [started] = only(await collect(client, jobId), 'started')
  return started?.data.queue_time_ms ?? Number.NaN
}

/** The epochs of a job's attempts. */
function startsOf(log: readonly JobEvent[]): number[] {
  return only(log, 'started').map(({ id }) => idParts(id).epoch)
}

describe('beside a batch', () => {
  test('an interactive job starts within a second at four slots, again and again', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica({ tokensPerSecond: 20 })
    const worker = await lab.worker(replica, { slots: 4 })
    await enqueueBatch(client, 10)
    await expect.poll(() => worker.busy).toBe(3)
    for (let times = 0; times < 10; times += 1) expect(await waitOf(client)).toBeLessThan(1000)
    expect(await client.waiting()).toMatchObject({ batch: 7 })
    expect([worker.busy, replica.seen.most]).toEqual([3, 4])
  })

  test.for([1, 2])('an interactive job has the next slot that frees at %s', async (slots, { lab }) => {
    const client = await lab.client()
    const worker = await lab.worker(await lab.replica({ tokensPerSecond: 50 }), { slots })
    const jobs = await enqueueBatch(client, 5)
    await expect.poll(() => worker.busy).toBe(slots)
    const { job_id: jobId, queue_position: position } = await client.enqueue(SHORT)
    expect(position).toBe(0)
    await client.cancel(jobs[0] ?? '')
    const events = await collect(client, jobId)
    endOf(events)
    const others = (await Promise.all(jobs.map((job) => readLog(lab.redis, KEYS, job)))).flatMap(startsOf)
    const [mine = 0] = startsOf(events)
    expect(others.filter((epoch) => epoch <= mine)).toHaveLength(slots)
  })

  test('slots are kept as the pool says, from one moment to the next', async ({ lab }) => {
    const client = await lab.client({ reserved_slots: 3 })
    const worker = await lab.worker(await lab.replica({ tokensPerSecond: 50 }), { slots: 4 })
    await enqueueBatch(client, 6)
    await expect.poll(() => worker.busy).toBe(1)
    expect(await waitOf(client)).toBeLessThan(1000)
    await client.set({ reserved_slots: 0 })
    // The config is read again every five seconds.
    await expect.poll(() => worker.busy, { timeout: 50_000 }).toBe(4)
  }, 60_000)

  test('what came from an old producer, as priority 20 in `jobs`, is served', async ({ lab, queue }) => {
    const client = await lab.client()
    await queue.add('generate', { v: 1, ...SHORT }, { jobId: 'old', priority: 20 })
    expect(await client.waiting()).toEqual({ interactive: 0, batch: 1, delayed: 0 })
    await lab.worker(await lab.replica(), { slots: 1 })
    endOf(await collect(client, 'old'))
  })

  test('a job of one id in both queues is one job', async ({ lab, queue }) => {
    const client = await lab.client()
    await client.enqueue({ ...SHORT, priority: 'batch' }, { jobId: 'twice' })
    await queue.add('generate', { v: 1, ...SHORT }, { jobId: 'twice', priority: 10 })
    await lab.worker(await lab.replica({ tokensPerSecond: 100 }), { slots: 2 })
    const events = await collect(client, 'twice')
    expect(endOf(events).tokens_out).toBe(3)
    expect(only(events, 'token').map(({ data }) => data.i)).toEqual([0, 1, 2])
    await expect
      .poll(async () => [await client.waiting(), await queue.getActiveCount()])
      .toEqual([{ interactive: 0, batch: 0, delayed: 0 }, 0])
    expect(await readLog(lab.redis, KEYS, 'twice')).toEqual(events)
  })

  test('a worker that stops hands batch jobs back to their queue, and another goes on', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica({ tokensPerSecond: 100 })
    const first = await lab.worker(replica, { slots: 2 })
    const [jobId = ''] = await enqueueBatch(client, 1, { inputs: 'go', parameters: { max_new_tokens: 150 } })
    await tokensIn(lab.redis, KEYS, jobId)
    await first.stop(0)
    expect(await client.waiting()).toEqual({ interactive: 0, batch: 1, delayed: 0 })
    expect(await lab.redis.exists(`${KEYS.queuePrefix}:batch:${jobId}`)).toBe(1)
    await lab.worker(replica, { slots: 2 })
    expect(endOf(await collect(client, jobId))).toMatchObject({ attempts: 2, tokens_out: 150 })
    await expect.poll(() => lab.redis.hget(KEYS.bytes, ':total')).toBe('0')
  })

  test('two hundred batch jobs and those that come meanwhile all have their answers', async ({ lab }) => {
    const client = await lab.client()
    const [first, second] = [
      await lab.replica({ tokensPerSecond: 400 }),
      await lab.replica({ tokensPerSecond: 400 }),
    ]
    const leaving = await lab.worker(first, { slots: 2 })
    await lab.worker(second, { slots: 4 })
    const batch = await enqueueBatch(client, 200, { inputs: 'line', parameters: { max_new_tokens: 20 } })
    const people = await Promise.all(
      Array.from({ length: 10 }, async (_, n) => {
        if (n === 5) void leaving.stop(0)
        return (await client.enqueue(SHORT)).job_id
      }),
    )
    for (const jobId of [...batch, ...people]) endOf(await collect(client, jobId))
    expect(await client.waiting()).toEqual({ interactive: 0, batch: 0, delayed: 0 })
  }, 60_000)
})

import { describe, expect } from 'vitest'
import { collect, endOf, errorOf, only, readLog } from '../support/job-log.ts'
import { KEYS, test } from '../support/lab.ts'
import { createManualClock } from '../support/manual-clock.ts'

/**
 * How late a job may end at the latest (ms). Section 3 of the contract leaves a pool 2 s; the sweep comes every 0.7 s.
 * Ten times that, for a machine that has no time for the test; the chaos run holds the pool to its 2 s.
 */
const LATE_MS = 7000

/** A deadline by which a job has started for sure (ms): a hundred times what that takes. */
const STARTED_MS = 1500

describe('a deadline that passes', () => {
  test('in the queue ends the job as DEADLINE_UNMET, by any process of ours', async ({ lab }) => {
    const client = await lab.client()
    const elsewhere = await lab.replica()
    await lab.worker(elsewhere, { pool: 'elsewhere' })
    const { job_id: jobId } = await client.enqueue({ inputs: 'Too late', deadline_ms: 300 })
    const events = await collect(client, jobId)
    const deadlineAt = only(events, 'queued')[0]?.data.deadline_at ?? 0
    expect(Date.now() - deadlineAt).toBeLessThan(LATE_MS)
    expect(Date.now()).toBeGreaterThanOrEqual(deadlineAt)
    expect(errorOf(events)).toMatchObject({ code: 'DEADLINE_UNMET', retriable: false })
    expect(only(events, 'started')).toEqual([])
    // The seal comes first; who wrote it then takes the job out of the queue.
    await expect.poll(() => client.waiting()).toEqual({ interactive: 0, batch: 0, delayed: 0 })
    expect(await lab.redis.zcard(KEYS.deadlines)).toBe(0)
  })

  test('behind a long job ends the one that waits and not the one that runs', async ({ lab }) => {
    const client = await lab.client()
    const clock = createManualClock()
    const replica = await lab.replica({ clock, tokensPerSecond: 100 })
    await lab.worker(replica, { slots: 1 })
    const long = await client.enqueue({ inputs: '[tag:long]', parameters: { max_new_tokens: 150 } })
    const late = await client.enqueue({ inputs: '[tag:late]', deadline_ms: 300 })
    expect(errorOf(await collect(client, late.job_id)).code).toBe('DEADLINE_UNMET')
    clock.run()
    endOf(await collect(client, long.job_id))
    expect(replica.seen.requests.map(({ tag }) => tag)).toEqual(['long'])
  })

  test('while it streams ends the job as DECODE_TIMEOUT and closes its socket', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica({ clock: createManualClock(), tokensPerSecond: 50 })
    const worker = await lab.worker(replica)
    const { job_id: jobId } = await client.enqueue({
      inputs: 'Slow',
      parameters: { max_new_tokens: 1000 },
      deadline_ms: STARTED_MS,
    })
    const events = await collect(client, jobId)
    const deadlineAt = only(events, 'queued')[0]?.data.deadline_at ?? 0
    expect(Date.now() - deadlineAt).toBeLessThan(LATE_MS)
    const tokens = only(events, 'token').length
    expect(tokens).toBe(1)
    expect(errorOf(events)).toMatchObject({ code: 'DECODE_TIMEOUT', retriable: true, tokens_out: tokens })
    await expect.poll(() => replica.seen.requests[0]?.outcome).toBe('aborted')
    await expect.poll(() => worker.busy).toBe(0)
    expect(await readLog(lab.redis, KEYS, jobId)).toEqual(events)
  })

  test.for(['slow-prefill', 'hang-headers', 'stall'] as const)(
    'in %s ends the job as DECODE_TIMEOUT',
    async (kind, { lab }) => {
      const client = await lab.client()
      const replica = await lab.replica({ faults: [{ kind }] })
      const worker = await lab.worker(replica)
      const { job_id: jobId } = await client.enqueue({ inputs: 'Silent', deadline_ms: STARTED_MS })
      expect(errorOf(await collect(client, jobId))).toMatchObject({ code: 'DECODE_TIMEOUT', tokens_out: 0 })
      await expect.poll(() => worker.busy).toBe(0)
      await expect.poll(() => replica.seen.open).toBe(0)
    },
  )

  test('while attempts fail and are run again ends the job', async ({ lab }) => {
    const client = await lab.client({ max_attempts: 100 })
    await lab.worker(await lab.replica({ faults: [{ kind: 'crash' }] }))
    const { job_id: jobId } = await client.enqueue({ inputs: 'Again', deadline_ms: STARTED_MS })
    const events = await collect(client, jobId)
    expect(errorOf(events).code).toBe('DECODE_TIMEOUT')
    expect(Date.now() - (only(events, 'queued')[0]?.data.deadline_at ?? 0)).toBeLessThan(LATE_MS)
    await expect.poll(() => client.waiting()).toEqual({ interactive: 0, batch: 0, delayed: 0 })
  })

  test('after the last worker has gone ends the job that it left behind', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica({ prefillMs: 60_000 })
    const worker = await lab.worker(replica)
    const { job_id: jobId } = await client.enqueue({ inputs: 'Left', deadline_ms: STARTED_MS })
    await expect.poll(() => replica.seen.open).toBe(1)
    await worker.stop(0)
    await lab.worker(await lab.replica(), { pool: 'elsewhere' })
    expect(errorOf(await collect(client, jobId)).code).toBe('DECODE_TIMEOUT')
  })
})

describe("the pool's default deadline", () => {
  test('holds for a job that names none, and the pool bounds what a job may name', async ({ lab }) => {
    const client = await lab.client({ deadline_ms: 5000, max_deadline_ms: 10_000 })
    const { job_id: jobId } = await client.enqueue({ inputs: 'When?' })
    const [queued] = only(await readLog(lab.redis, KEYS, jobId), 'queued')
    expect((queued?.data.deadline_at ?? 0) - (queued?.data.accepted_at ?? 0)).toBe(5000)
    await expect(client.enqueue({ inputs: 'When?', deadline_ms: 10_001 })).rejects.toMatchObject({
      kind: 'INVALID_PARAMS',
      message: expect.stringContaining('10000'),
    })
  })
})

import { describe, expect } from 'vitest'
import { START, entryId } from '../../src/contract/stream-id.ts'
import { formatEntry } from '../../src/stream/entry.ts'
import { createEventLog } from '../../src/stream/event-log.ts'
import { errorSeal } from '../../src/stream/seal.ts'
import { collect, endOf, errorOf, only, readLog } from '../support/job-log.ts'
import { KEYS, POOL } from '../support/lab.ts'
import { createManualClock } from '../support/manual-clock.ts'
import { test } from '../support/plain-queue.ts'

const BODY = { inputs: 'Go', parameters: { max_new_tokens: 3 } }

describe('a request that goes out before its stream is read', () => {
  test('is dropped when the job turns out to be over, and nothing is written', async ({ lab, queue }) => {
    const client = await lab.client()
    const replica = await lab.replica({ clock: createManualClock(), tokensPerSecond: 20 })
    const worker = await lab.worker(replica)
    const entries = [errorSeal('CANCELLED', { message: 'not wanted', pool_id: POOL })]
    const log = createEventLog(lab.redis, KEYS)
    await log.write({ jobId: 'over', expect: START, entries, deadlineAt: Date.now(), retentionMs: 60_000 })
    await queue.add('generate', BODY, { jobId: 'over' })
    await expect.poll(() => queue.getJobCounts()).toMatchObject({ active: 0, prioritized: 0, waiting: 0 })
    // Dropped before it was sent, or when the replica had it already.
    await expect.poll(() => [replica.seen.open, worker.busy]).toEqual([0, 0])
    expect(replica.seen.requests.filter(({ outcome }) => outcome !== 'aborted')).toEqual([])
    expect(await readLog(lab.redis, KEYS, 'over')).toHaveLength(1)
    errorOf(await collect(client, 'over'))
  })

  test('is closed before another one is opened, where a part of the answer is there', async ({
    lab,
    queue,
  }) => {
    const client = await lab.client()
    const replica = await lab.replica({ prefillMs: 200 })
    await lab.worker(replica, { slots: 1 })
    const epoch = (Date.now() - 1000) * 1000
    const entries = [
      formatEntry(entryId(epoch, 1), 'started', {
        attempt: 1,
        engine: 'tgi',
        engine_version: '3.3.6-dev0+sim',
        pool_id: POOL,
        replica_id: 'gone',
        model_id: 'simulated/tiny-llm',
        seed: 1,
        queue_time_ms: 1,
        determinism: 'best_effort',
        next_token: 0,
      }),
      formatEntry(entryId(epoch, 2), 'token', { t: 'x', i: 0, id: 1, logprob: null, first_token_ms: 1 }),
    ]
    const deadlineAt = Date.now() + 60_000
    const log = createEventLog(lab.redis, KEYS)
    await log.write({ jobId: 'part', expect: START, entries, deadlineAt, retentionMs: 60_000 })
    // As after a Redis that lost what its queue knew: the job is new there.
    await queue.add('generate', { ...BODY, on_interrupt: 'replay' }, { jobId: 'part' })
    expect(errorOf(await collect(client, 'part'))).toMatchObject({ code: 'REPLAY_DIVERGED' })
    // The token is none of the simulated model's: repeated, it diverges, and so it does alone.
    const { requests } = replica.seen
    expect(requests.length).toBeGreaterThanOrEqual(2)
    expect(replica.seen.most).toBe(1)
  })

  test('is the only one of its job, and its tokens are all there', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica()
    await lab.worker(replica)
    for (let nth = 0; nth < 20; nth += 1) {
      const { job_id: jobId } = await client.enqueue(BODY)
      expect(endOf(await collect(client, jobId))).toMatchObject({ tokens_out: 3, attempts: 1 })
    }
    expect(replica.seen.requests).toHaveLength(20)
    expect(replica.seen.requests.every(({ outcome }) => outcome === 'finished')).toBe(true)
  })

  test('says what it met as any other does: the replica is busy, and the job waits', async ({ lab }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica({ faults: [{ kind: 'overloaded', times: 2 }] }))
    const { job_id: jobId } = await client.enqueue(BODY)
    const events = await collect(client, jobId)
    expect(endOf(events)).toMatchObject({ tokens_out: 3 })
    expect(only(events, 'started')).toHaveLength(3)
  })
})

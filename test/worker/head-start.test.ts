import { describe, expect } from 'vitest'
import { START } from '../../src/contract/stream-id.ts'
import { createEventLog } from '../../src/stream/event-log.ts'
import { errorSeal } from '../../src/stream/seal.ts'
import { collect, endOf, errorOf, only, readLog } from '../support/job-log.ts'
import { KEYS, POOL } from '../support/lab.ts'
import { test } from '../support/plain-queue.ts'

const BODY = { inputs: 'Go', parameters: { max_new_tokens: 3 } }

describe('a request that goes out before its stream is read', () => {
  test('is dropped when the job turns out to be over, and nothing is written', async ({ lab, queue }) => {
    const client = await lab.client()
    const replica = await lab.replica({ tokensPerSecond: 20 })
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

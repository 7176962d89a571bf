import { describe, expect } from 'vitest'
import { START, entryId } from '../../src/contract/stream-id.ts'
import { formatEntry } from '../../src/stream/entry.ts'
import { createEventLog } from '../../src/stream/event-log.ts'
import { collect, errorOf, only } from '../support/job-log.ts'
import { KEYS, POOL } from '../support/lab.ts'
import type { Lab, Replica } from '../support/lab.ts'
import { createManualClock } from '../support/manual-clock.ts'
import type { ManualClock } from '../support/manual-clock.ts'
import { test } from '../support/plain-queue.ts'

const SLOW_MS = 10_000
const TRIAL_MS = 60_000
const TEN = { max_new_tokens: 10 }

/** A replica on which the worker's trial (`Hello`) takes longer than `Slow`. */
async function replicaOf(lab: Lab, clock: ManualClock): Promise<Replica> {
  return lab.replica({
    clock,
    faults: [
      { kind: 'generation-error', match: 'BAD' },
      { kind: 'slow-prefill', match: 'Hello', ms: TRIAL_MS },
      { kind: 'slow-prefill', match: 'Slow', ms: SLOW_MS },
    ],
  })
}

/** Has three jobs fail, one after the other, so that the worker begins its trial beside the one that runs. */
async function beginTrial(lab: Lab, replica: Replica, clock: ManualClock): Promise<void> {
  const client = await lab.client()
  const before = replica.seen.requests.length
  for (const n of [1, 2, 3]) await client.enqueue({ inputs: `BAD ${n}`, parameters: TEN })
  await expect
    .poll(() => {
      clock.advance(5)
      return [replica.seen.requests.length - before, replica.seen.open]
    })
    .toEqual([4, 2])
}

describe('a trial of a replica', () => {
  test('is waited for by a replay that has to be alone', async ({ lab, queue }) => {
    const client = await lab.client()
    const clock = createManualClock()
    const replica = await replicaOf(lab, clock)
    const worker = await lab.worker(replica, { slots: 2 })
    await expect.poll(() => worker.state).toBe('ready')
    const versions = (await client.replicas())[0]?.versions
    const epoch = (Date.now() - 1000) * 1000
    const started = {
      attempt: 1,
      engine: 'tgi',
      engine_version: versions?.engine_version ?? '',
      pool_id: POOL,
      replica_id: 'gone',
      model_id: versions?.model_id ?? '',
      seed: 1,
      queue_time_ms: 1,
      determinism: 'best_effort',
      next_token: 0,
    } as const
    // No token of the simulated model's: repeated, it diverges, beside others and alone.
    const token = { t: 'x', i: 0, id: 1, logprob: null, first_token_ms: 1 }
    await createEventLog(lab.redis, KEYS).write({
      jobId: 'part',
      expect: START,
      entries: [
        formatEntry(entryId(epoch, 1), 'started', started),
        formatEntry(entryId(epoch, 2), 'token', token),
      ],
      deadlineAt: Date.now() + 600_000,
      retentionMs: 60_000,
    })
    await queue.add(
      'generate',
      { inputs: 'Slow', parameters: TEN, on_interrupt: 'replay' },
      { jobId: 'part' },
    )
    await expect.poll(() => replica.seen.open).toBe(1)
    await beginTrial(lab, replica, clock)

    // The replay diverges, and has nothing to wait for but the trial.
    clock.advance(SLOW_MS + 1000)
    await expect.poll(() => replica.seen.open).toBe(1)
    const stop = clock.run()
    clock.advance(TRIAL_MS)
    expect(errorOf(await collect(client, 'part'))).toMatchObject({ code: 'REPLAY_DIVERGED' })
    stop()
  })

  test('ends when a job has had its answer meanwhile: its slot is for jobs', async ({ lab }) => {
    const client = await lab.client()
    const clock = createManualClock()
    const replica = await replicaOf(lab, clock)
    const worker = await lab.worker(replica, { slots: 2 })
    await expect.poll(() => worker.state).toBe('ready')
    await client.enqueue({ inputs: 'Slow', parameters: TEN })
    await expect.poll(() => replica.seen.open).toBe(1)
    await beginTrial(lab, replica, clock)
    const trial = replica.seen.requests.at(-1)

    clock.advance(SLOW_MS + 1000)
    await expect.poll(() => trial?.outcome).toBe('aborted')
  })

  test('begins, too, after three refusals of one job that never got as far as the engine', async ({
    lab,
  }) => {
    const client = await lab.client()
    const replica = await lab.replica({ faults: [{ kind: 'http-401' }] })
    const worker = await lab.worker(replica)
    await expect.poll(() => worker.state).toBe('ready')
    const { job_id: jobId } = await client.enqueue({ inputs: 'One', parameters: TEN, deadline_ms: 4000 })
    const events = await collect(client, jobId)
    expect(errorOf(events)).toMatchObject({ code: 'DECODE_TIMEOUT' })
    // Not again and again, ten times a second, until its deadline.
    expect(only(events, 'started')).toHaveLength(3)
    expect((await client.replicas())[0]?.state).toBe('unhealthy')
  })
})

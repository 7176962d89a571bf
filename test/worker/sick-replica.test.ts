import { describe, expect } from 'vitest'
import type { PoolClient } from '../../src/client/pool-client.ts'
import type { JobEvent } from '../../src/contract/event.ts'
import type { Fault } from '../../src/simulator/faults.ts'
import { collect, endOf, only } from '../support/job-log.ts'
import { test } from '../support/lab.ts'

const JOBS = 60
const SLOTS = 4
/** Jobs of an eighth of a second: the good replica alone needs two seconds for all. */
const TOKENS = 12
const TOKENS_PER_SECOND = 100
/** Short enough for a test, long enough for a machine that is busy. */
const SILENCE = { first_token_timeout_ms: 500, token_timeout_ms: 500 }

/** How a replica can be sick for good while it says of itself that it is well. */
const SICKNESSES: readonly { readonly name: string; readonly fault: Fault; readonly soon?: true }[] = [
  { name: 'never gives a token', fault: { kind: 'stall' } },
  { name: 'takes requests and never answers', fault: { kind: 'hang-headers' } },
  { name: 'resets every request', fault: { kind: 'crash' }, soon: true },
  { name: 'answers every request with 500', fault: { kind: 'http-500' } },
  { name: 'fails in prefill', fault: { kind: 'generation-error' }, soon: true },
  { name: 'says for ever that it is overloaded', fault: { kind: 'overloaded' } },
  { name: 'stalls in decode', fault: { kind: 'stall', after: 3 } },
  { name: 'freezes in decode', fault: { kind: 'freeze', after: 3 } },
  { name: 'crashes in decode', fault: { kind: 'crash', after: 3 }, soon: true },
]

async function enqueue(client: PoolClient, count: number): Promise<Promise<JobEvent[]>[]> {
  const parameters = { max_new_tokens: TOKENS }
  const reads: Promise<JobEvent[]>[] = []
  for (let n = 0; n < count; n += 1)
    reads.push(collect(client, (await client.enqueue({ inputs: `Job ${n}`, parameters })).job_id))
  return reads
}

/** How many attempts were made on a replica. */
function attemptsOn(replicaId: string, jobs: readonly JobEvent[][]): number {
  return jobs.flatMap((events) => only(events, 'started')).filter(({ data }) => data.replica_id === replicaId)
    .length
}

describe('one sick replica beside a good one', () => {
  test.for(SICKNESSES)('that $name eats no job of a long queue', async ({ fault }, { lab }) => {
    const client = await lab.client(SILENCE)
    const options = { tokensPerSecond: TOKENS_PER_SECOND }
    const sick = await lab.worker(await lab.replica({ ...options, faults: [fault] }), { slots: SLOTS })
    const good = await lab.worker(await lab.replica(options), { slots: SLOTS })
    for (const worker of [sick, good]) await expect.poll(() => worker.state).toBe('ready')

    const jobs = await Promise.all(await enqueue(client, JOBS))
    for (const events of jobs) expect(endOf(events).tokens_out).toBe(TOKENS)
    // It was tried, and what it has met in all that time is a small part of the queue.
    expect(attemptsOn(sick.replicaId, jobs)).toBeGreaterThan(0)
    expect(attemptsOn(sick.replicaId, jobs)).toBeLessThan(JOBS / 4)
  })

  // Those that fail soon: a job would have used up its attempts within three seconds.
  test.for(SICKNESSES.filter(({ soon }) => soon))(
    'that $name eats nobody who waits for the good one, though it is free',
    async ({ fault }, { lab }) => {
      const client = await lab.client()
      const busy = await lab.replica({ tokensPerSecond: TOKENS_PER_SECOND })
      const good = await lab.worker(busy, { slots: 1 })
      await expect.poll(() => good.state).toBe('ready')
      const long = await client.enqueue({ inputs: 'Long', parameters: { max_new_tokens: 450 } })
      await expect.poll(() => busy.seen.open).toBe(1)
      const sick = await lab.worker(await lab.replica({ tokensPerSecond: 100, faults: [fault] }))
      await expect.poll(() => sick.state).toBe('ready')

      const jobs = await Promise.all(await enqueue(client, 2))
      for (const events of jobs) {
        expect(endOf(events)).toMatchObject({ attempts: 2, tokens_out: TOKENS })
        expect(only(events, 'started').map(({ data }) => data.replica_id)).toEqual([
          sick.replicaId,
          good.replicaId,
        ])
      }
      endOf(await collect(client, long.job_id))
    },
  )
})

test('a replica that failed some jobs is tried again beside those that run on it', async ({ lab }) => {
  const client = await lab.client()
  const replica = await lab.replica({
    tokensPerSecond: 50,
    faults: [{ kind: 'crash', match: 'Job', times: 3 }],
  })
  const worker = await lab.worker(replica)
  await expect.poll(() => worker.state).toBe('ready')
  const parameters = { max_new_tokens: 4000 }
  const long = await Promise.all([1, 2].map((n) => client.enqueue({ inputs: `Endless ${n}`, parameters })))
  await expect.poll(() => replica.seen.open).toBe(2)
  const jobs = await Promise.all(await enqueue(client, 8))
  for (const events of jobs) endOf(events)
  expect(replica.seen.open).toBe(2)
  expect(worker.state).toBe('ready')
  for (const { job_id: jobId } of long) await client.cancel(jobId)
})

import { setTimeout as sleep } from 'node:timers/promises'
import { expect } from 'vitest'
import type { PoolClient } from '../../src/client/pool-client.ts'
import type { JobEvent } from '../../src/contract/event.ts'
import type { CancelOutcome } from '../../src/stream/seal.ts'
import { expectSound, only, readLog } from '../support/job-log.ts'
import { KEYS, test } from '../support/lab.ts'
import type { Lab } from '../support/lab.ts'

const JOBS = 1000
/** Jobs under way at once. */
const LANES = 24

/** A cancelled job: its stream when `cancel` had returned. */
interface Raced {
  readonly jobId: string
  readonly outcome: CancelOutcome
  readonly returned: readonly JobEvent[]
}

/**
 * How long after its acceptance a job is cancelled at the latest (ms): so long that about half of the cancels come too late,
 * on an idle machine and on a busy one.
 */
class Spread {
  ms = 70

  learn({ outcome }: Raced): void {
    this.ms = Math.min(3000, Math.max(30, this.ms * (outcome === 'already_over' ? 0.99 : 1.01)))
  }
}

/** Puts a job in and cancels it a random time later; half the cancels come from another process's connection. */
async function race(lab: Lab, clients: readonly [PoolClient, PoolClient], spreadMs: number): Promise<Raced> {
  const maxNewTokens = 1 + Math.floor(Math.random() * 25)
  const canceller = clients[Math.random() < 0.5 ? 0 : 1]
  const { job_id: jobId } = await clients[0].enqueue({
    inputs: 'Race',
    parameters: { max_new_tokens: maxNewTokens },
    priority: Math.random() < 0.5 ? 'interactive' : 'batch',
  })
  // Timers are whole milliseconds; without any, the cancel meets the pick-up itself.
  const delayMs = Math.random() * spreadMs
  if (delayMs > 10) await sleep(delayMs)
  const outcome = await canceller.cancel(jobId)
  return { jobId, outcome, returned: await readLog(lab.redis, KEYS, jobId) }
}

/** Where the cancel met its job. */
function phaseOf({ outcome, returned }: Raced): string {
  if (outcome === 'already_over') return 'after the end'
  if (only(returned, 'token').length > 0) return 'decoding'
  return only(returned, 'started').length > 0 ? 'prefill' : 'waiting'
}

test('1,000 cancels that race with pick-up, prefill, decoding and the end all hold', async ({ lab }) => {
  const clients = [await lab.client(), await lab.client()] as const
  const replicas = [
    await lab.replica({ tokensPerSecond: 1000, prefillMs: 8 }),
    await lab.replica({ tokensPerSecond: 500, prefillMs: 3, maxBatchSize: 4 }),
  ]
  const workers = await Promise.all(replicas.map((replica) => lab.worker(replica, { slots: 8 })))
  const raced: Raced[] = []
  const spread = new Spread()
  const lane = async () => {
    while (raced.length < JOBS) {
      const one = await race(lab, clients, spread.ms)
      spread.learn(one)
      raced.push(one)
    }
  }
  await Promise.all(Array.from({ length: LANES }, lane))

  await expect.poll(() => workers.map(({ busy }) => busy)).toEqual([0, 0])
  await expect.poll(() => replicas.map(({ seen }) => seen.open)).toEqual([0, 0])
  await expect
    .poll(() => lab.redis.keys(`${KEYS.queuePrefix}:jobs:*`))
    .toEqual(expect.not.arrayContaining([expect.stringMatching(/:jobs:[0-9a-f-]{36}(:lock)?$/)]))
  expect(await clients[0].waiting()).toEqual({ interactive: 0, batch: 0, delayed: 0 })
  expect(await lab.redis.zcard(KEYS.deadlines)).toBe(0)
  for (const { seen } of replicas) expect(seen.most).toBeLessThanOrEqual(8)

  for (const { jobId, outcome, returned } of raced) {
    expectSound(returned)
    expect(returned.at(-1)?.data).toMatchObject(
      outcome === 'cancelled' ? { code: 'CANCELLED' } : { text: expect.any(String) },
    )
    expect(await readLog(lab.redis, KEYS, jobId)).toEqual(returned)
  }
  const phases = Map.groupBy(raced, phaseOf)
  // Each of them comes a hundred times or more.
  for (const phase of ['waiting', 'prefill', 'decoding', 'after the end']) {
    expect(phases.get(phase)?.length ?? 0, phase).toBeGreaterThan(5)
  }
})

import { describe, expect } from 'vitest'
import type { PoolClient } from '../../src/client/pool-client.ts'
import type { JobEvent } from '../../src/contract/event.ts'
import type { Fault } from '../../src/simulator/faults.ts'
import { collect, endOf, errorOf, only } from '../support/job-log.ts'
import { test } from '../support/lab.ts'
import type { Lab } from '../support/lab.ts'

const TOKENS = 24
const TOKENS_PER_SECOND = 80
const BAD = 5
const GOOD = 20

/** How a prompt can always fail while the replica answers every other one. */
const POISONS: readonly { readonly name: string; readonly fault: Fault; readonly code: string }[] = [
  {
    name: 'a fault in the stream',
    fault: { kind: 'generation-error', match: 'POISON' },
    code: 'REPLICA_EXHAUSTED',
  },
  { name: 'HTTP 502', fault: { kind: 'http-502', match: 'POISON' }, code: 'REPLICA_EXHAUSTED' },
  {
    name: 'a last event that never comes',
    fault: { kind: 'no-final-event', match: 'POISON' },
    code: 'WORKER_RESET',
  },
  {
    name: 'a fault that fails the whole batch',
    fault: { kind: 'generation-error', match: 'POISON', batch: true },
    code: 'REPLICA_EXHAUSTED',
  },
]

interface Run {
  readonly bad: readonly JobEvent[][]
  readonly good: readonly JobEvent[][]
  /** From the first enqueue to the end of the last good job. */
  readonly goodMs: number
}

async function run(lab: Lab, client: PoolClient, replicas: number, fault?: Fault): Promise<Run> {
  for (let n = 0; n < replicas; n += 1) {
    const faults = fault === undefined ? [] : [fault]
    const worker = await lab.worker(await lab.replica({ tokensPerSecond: TOKENS_PER_SECOND, faults }), {
      slots: 4,
    })
    await expect.poll(() => worker.state).toBe('ready')
  }
  const enqueue = async (inputs: string) =>
    collect(client, (await client.enqueue({ inputs, parameters: { max_new_tokens: TOKENS } })).job_id)
  const from = performance.now()
  const bad: Promise<JobEvent[]>[] = []
  for (let n = 0; n < BAD; n += 1) bad.push(enqueue(`POISON ${n}`))
  const good = await Promise.all(Array.from({ length: GOOD }, (_, n) => enqueue(`Fine ${n}`)))
  const goodMs = performance.now() - from
  return { bad: await Promise.all(bad), good, goodMs }
}

describe.each([1, 2, 4])('five prompts that always fail, on %i replicas', (replicas) => {
  test.for(POISONS)('by $name: every good job behind them ends', async ({ fault, code }, { lab }) => {
    const client = await lab.client()
    const { bad, good, goodMs } = await run(lab, client, replicas, fault)
    for (const events of good) expect(endOf(events).tokens_out).toBe(TOKENS)
    for (const events of bad) {
      expect(errorOf(events)).toMatchObject({ code, attempt: expect.any(Number) })
      expect(errorOf(events).message).toMatch(/^5 attempts failed before .*; last: /)
      expect(only(events, 'started')).toHaveLength(5)
    }
    // A bad job costs a good one an attempt at most, and only where its fault is everybody's.
    const most = fault.batch === true ? 1 + BAD : 1
    for (const events of good) expect(endOf(events).attempts).toBeLessThanOrEqual(most)
    if (process.env['POISON_MS'] !== undefined)
      console.log(`${replicas} ${fault.kind} ${goodMs.toFixed(0)} ms`)
  })
})

import fc from 'fast-check'
import { expect } from 'vitest'
import type { Fault } from '../../src/simulator/faults.ts'
import { collect, endOf, errorOf } from '../support/job-log.ts'
import { createLab } from '../support/lab.ts'
import { test } from '../support/redis.ts'

/** How many mixes are tried, and which: `PROPERTY_RUNS`, `PROPERTY_SEED`. */
const RUNS = Number(process.env['PROPERTY_RUNS'] ?? 4)
const SEED = Number(process.env['PROPERTY_SEED'] ?? 2026)

const TOKENS = 12

/** What a bad prompt does to the replica that reads it. */
const POISONS: readonly Omit<Fault, 'match'>[] = [
  { kind: 'generation-error' },
  { kind: 'generation-error', batch: true },
  { kind: 'incomplete', after: 2 },
  { kind: 'crash' },
  { kind: 'http-502' },
  { kind: 'no-final-event' },
]

/** What a bad replica does to every prompt. */
const SICKNESSES: readonly Fault[] = [
  { kind: 'http-500' },
  { kind: 'http-502' },
  { kind: 'crash' },
  { kind: 'crash', after: 6 },
  { kind: 'generation-error', batch: true },
  { kind: 'overloaded' },
]

interface Mix {
  /** Of each job, whether its prompt is bad. */
  readonly jobs: readonly boolean[]
  /** Of each replica, its sickness. At least one is well. */
  readonly replicas: readonly (Fault | undefined)[]
  readonly poison: Omit<Fault, 'match'>
}

const mixes: fc.Arbitrary<Mix> = fc.record({
  jobs: fc.array(fc.nat(3), { minLength: 10, maxLength: 30 }).map((all) => all.map((n) => n === 0)),
  replicas: fc
    .array(fc.option(fc.constantFrom(...SICKNESSES), { nil: undefined }), { maxLength: 3 })
    .map((all) => [undefined, ...all]),
  poison: fc.constantFrom(...POISONS),
})

test('whatever mix of bad prompts and bad replicas: every good job ends, every bad one is ended', async ({
  redis,
}) => {
  await fc.assert(
    fc.asyncProperty(mixes, async ({ jobs, replicas, poison }) => {
      await redis.redis.flushall()
      const lab = await createLab(redis.url)
      try {
        const client = await lab.client()
        for (const sickness of replicas) {
          const faults: Fault[] = [{ ...poison, match: 'POISON' }]
          if (sickness !== undefined) faults.unshift(sickness)
          const worker = await lab.worker(await lab.replica({ tokensPerSecond: 200, faults }), { slots: 4 })
          await expect.poll(() => worker.state).toBe('ready')
        }
        const reads = await Promise.all(
          jobs.map(async (bad, n) => {
            const inputs = `${bad ? 'POISON' : 'Fine'} ${n}`
            const { job_id: jobId } = await client.enqueue({ inputs, parameters: { max_new_tokens: TOKENS } })
            return { bad, read: collect(client, jobId) }
          }),
        )
        for (const { bad, read } of reads) {
          const events = await read
          if (bad) expect(['REPLICA_EXHAUSTED', 'WORKER_RESET']).toContain(errorOf(events).code)
          else expect(endOf(events).tokens_out).toBe(TOKENS)
        }
      } finally {
        await lab.close()
      }
    }),
    { numRuns: RUNS, seed: SEED, endOnFailure: true },
  )
}, 600_000)

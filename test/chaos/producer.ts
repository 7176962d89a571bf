import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { PoolClient } from '../../src/client/pool-client.ts'
import { PoolError } from '../../src/contract/error.ts'
import type { PoolKeys } from '../../src/contract/keys.ts'
import type { Journal } from './journal.ts'
import type { TrackedJob } from './tracked-job.ts'

/** What a producer works with. */
export interface ProducerPorts {
  readonly client: PoolClient
  /** A connection of its own, for looking. */
  readonly redis: Redis
  readonly keys: PoolKeys
  readonly journal: Journal
  /** Ends the waiting. */
  readonly signal: AbortSignal
}

/** Whoever got no answer asks again after this. */
const AGAIN_MS = 200

/**
 * Enqueues a job until it is accepted, as a producer does that gets no answer: under its own id, or without one.
 *
 * @throws what no fault of Redis explains.
 */
export async function enqueueUntilAccepted(ports: ProducerPorts, job: TrackedJob): Promise<void> {
  const { client, journal, signal } = ports
  journal.write('enqueue', { job: job.jobId, body: job.body })
  for (let call = 1; ; call += 1) {
    try {
      const options = job.isNameless ? { signal } : { jobId: job.jobId, signal }
      const { job_id: jobId } = await client.enqueue(job.body, options)
      if (job.isNameless) journal.write('named', { job: job.jobId, as: jobId })
      job.jobId = jobId
      job.acceptedAt = Date.now()
      if (call > 1) journal.write('accepted', { job: job.jobId, calls: call })
      return
    } catch (error) {
      if (!isAway(error) && !isRefused(error)) throw error
      await sleep(AGAIN_MS, undefined, { signal })
    }
  }
}

/** Cancels a job, again and again until there is an answer, and looks at its stream when there is one. */
export async function cancelUntilAnswered(ports: ProducerPorts, job: TrackedJob): Promise<void> {
  const { client, journal, redis, keys, signal } = ports
  job.cancelAsked = true
  journal.write('cancel', { job: job.jobId })
  for (let call = 1; ; call += 1) {
    try {
      const outcome = await client.cancel(job.jobId, { reason: 'chaos', signal })
      const at = Date.now()
      const entries = await redis.xlen(keys.events(job.jobId)).catch(() => undefined)
      job.cancel = { outcome, repeated: call > 1, entries, at }
      journal.write('cancelled', { job: job.jobId, outcome, entries })
      return
    } catch (error) {
      if (!isAway(error)) throw error
      await sleep(AGAIN_MS, undefined, { signal })
    }
  }
}

/** Whether a job was refused as things stand: it would not start by its deadline, or Redis is out of memory. */
function isRefused(error: unknown): boolean {
  if (!(error instanceof PoolError) || error.ofJob) return false
  return error.kind === 'DEADLINE_UNMET' || error.kind === 'ADMISSION_REJECT'
}

/** Whether a call failed because Redis is away for now. */
export function isAway(error: unknown): boolean {
  return error instanceof PoolError && error.kind === 'REDIS_UNAVAILABLE'
}

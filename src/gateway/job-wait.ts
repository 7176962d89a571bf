import type { PoolClient } from '../client/pool-client.ts'
import { PoolError } from '../contract/error.ts'
import type { JobState } from '../contract/job-state.ts'
import type { FoundJob } from './event-streams.ts'
import { inTime } from './in-time.ts'

/** How to wait for a job to end. */
export interface JobWait extends FoundJob {
  /** The job was accepted before this request, so it may be over already. */
  readonly existing: boolean
  readonly seconds: number
  /** Ends the wait early. */
  readonly place: AbortController
  readonly redisTimeoutMs: number
}

/** Reads of jobs that are over, by client and job. Those that wait for one job all ask when it ends, and its text may be large. */
const endReads = new WeakMap<PoolClient, Map<string, Promise<JobState>>>()

/** Aborts the wait when its time is up. */
const LATE = new Error('the job did not end in time')

/**
 * Waits for an accepted job to end, on the connections that all readers share.
 *
 * @returns the job's state once it has ended; undefined if it has not ended in time, the place was aborted, or Redis does not answer. The
 * job stays accepted in each case.
 * @throws {@link PoolError} `UNKNOWN_JOB` or `GONE` when the job was erased in the meantime.
 */
export async function waitForEnd(wait: JobWait): Promise<JobState | undefined> {
  const { client, jobId, place, redisTimeoutMs } = wait
  const { signal } = place
  const readState = () => inTime(redisTimeoutMs, (late) => client.job(jobId, { signal: late }))
  const timer = setTimeout(() => place.abort(LATE), wait.seconds * 1000)
  try {
    let after: string | undefined
    if (wait.existing) {
      const state = await readState()
      if (state.end !== undefined || state.error !== undefined) return state
      after = state.last_id ?? undefined
    }
    // The iteration ends after the terminal event.
    for await (const _ of client.events(jobId, { after, signal }));
    return await readOnce(client, jobId, readState)
  } catch (error) {
    const accepted = signal.aborted || (error instanceof PoolError && error.kind === 'REDIS_UNAVAILABLE')
    if (accepted) return undefined
    throw error
  } finally {
    clearTimeout(timer)
  }
}

/** Reads the state of a job that is over; the read that is under way, if there is one. */
function readOnce(client: PoolClient, jobId: string, read: () => Promise<JobState>): Promise<JobState> {
  const reads = endReads.get(client) ?? new Map<string, Promise<JobState>>()
  endReads.set(client, reads)
  const known = reads.get(jobId)
  if (known !== undefined) return known
  const reading = read().finally(() => reads.delete(jobId))
  reads.set(jobId, reading)
  return reading
}

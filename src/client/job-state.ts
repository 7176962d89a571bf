import { PoolError } from '../contract/error.ts'
import type { JobState } from '../contract/job-state.ts'
import { stateOfError } from '../contract/job-states.ts'
import type { PoolKeys } from '../contract/keys.ts'
import { viewLog } from '../attempt/log-view.ts'
import type { JobQueue } from '../queue/job-queue.ts'
import { parseEntry } from '../stream/entry.ts'
import type { EventLog } from '../stream/event-log.ts'

/**
 * Where a job stands.
 *
 * @throws {@link PoolError} `UNKNOWN_JOB` when there is none, or its events have expired.
 */
export async function readJobState(
  log: EventLog,
  queue: JobQueue,
  keys: PoolKeys,
  jobId: string,
): Promise<JobState> {
  const { entries } = await log.readOutline(jobId)
  if (entries.length === 0 && !(await queue.holds(jobId))) {
    throw new PoolError('UNKNOWN_JOB', `no job ${jobId} in pool ${keys.pool}, or its events have expired`)
  }
  const view = viewLog(entries)
  const state: JobState = {
    job_id: jobId,
    pool_id: keys.pool,
    state: view.attempts > 0 ? 'started' : 'queued',
    last_id: entries.at(-1)?.id ?? null,
    attempts: 0,
    tokens_out: view.tokens,
  }
  if (view.queued !== undefined) {
    state.accepted_at = view.queued.accepted_at
    state.deadline_at = view.queued.deadline_at
  }
  for (const entry of entries) {
    if (entry.event === 'token' || entry.event === 'metrics') continue
    const event = parseEntry(entry)
    if (event.event === 'started') {
      // The entries may lack attempts between the first ones and the last, so they are not counted.
      state.attempts = event.data.attempt
      state.replica_id = event.data.replica_id
    }
    if (event.event === 'end') Object.assign(state, { state: 'ended', end: event.data })
    if (event.event === 'error')
      Object.assign(state, { state: stateOfError(event.data.code), error: event.data })
  }
  return state
}

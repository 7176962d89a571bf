import type { JobEvent } from '../../../src/contract/event.ts'
import { JOB_STATES } from '../../../src/contract/job-states.ts'
import { compareCounts, countEvents, stateIn } from '../../support/count-events.ts'
import type { FinishedJob } from './check-job.ts'

/** Holds counters and index of a pool with one job against its events; a sentence when they do not fit. */
export async function checkCounts(
  { redis, keys, jobId, priority }: Pick<FinishedJob, 'redis' | 'keys' | 'jobId' | 'priority'>,
  events: readonly JobEvent[],
): Promise<string | undefined> {
  const wanted = new Map<string, number>()
  countEvents(wanted, events, priority)
  const [difference] = compareCounts(await redis.hgetall(keys.counters), wanted)
  if (difference !== undefined) return difference
  const [batch, expiry, ...scores] = await Promise.all(
    [keys.batchIndex, keys.expiry, ...keys.indexes].map((key) => redis.zscore(key, jobId)),
  )
  const states = JOB_STATES.filter((_, at) => scores[at] !== null).join(' and ')
  const state = stateIn(events)
  if (states !== state) return `the index says ${states || 'nothing'}, the events say ${state}`
  // Who only ends a job does not know its priority.
  const isBatch = priority === 'batch' && events[0]?.event !== 'error'
  if (expiry === null) return `the index does not say when the job's stream expires`
  const expected = isBatch ? expiry : null
  return batch === expected ? undefined : `the index of batch jobs says ${batch}, not ${expected}`
}

import type { Redis } from 'ioredis'
import type { JobEvent } from '../../../src/contract/event.ts'
import { JOB_STATES } from '../../../src/contract/job-states.ts'
import type { PoolKeys } from '../../../src/contract/keys.ts'
import { compareCounts, countEvents, stateIn } from '../../support/count-events.ts'

/** Holds counters and index of a pool with one job against its events; a sentence when they do not fit. */
export async function checkCounts(
  redis: Redis,
  keys: PoolKeys,
  jobId: string,
  events: readonly JobEvent[],
): Promise<string | undefined> {
  const wanted = new Map<string, number>()
  countEvents(wanted, events)
  const [difference] = compareCounts(await redis.hgetall(keys.counters), wanted)
  if (difference !== undefined) return difference
  const scores = await Promise.all(keys.indexes.map((key) => redis.zscore(key, jobId)))
  const states = JOB_STATES.filter((_, at) => scores[at] !== null).join(' and ')
  const state = stateIn(events)
  return states === state ? undefined : `the index says ${states || 'nothing'}, the events say ${state}`
}

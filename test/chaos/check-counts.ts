import type { Redis } from 'ioredis'
import { JOB_STATES } from '../../src/contract/job-states.ts'
import { parseEntry, parseRawEntry } from '../../src/stream/entry.ts'
import type { RawEntry } from '../../src/stream/entry.ts'
import { compareCounts, countEvents, stateIn } from '../support/count-events.ts'
import type { Violation } from './evidence.ts'
import { KEYS } from './stage.ts'

/**
 * Holds counters and index of the pool against every stream in Redis, also those of jobs that were never accepted: a producer
 * whose Redis went away may have left one. No stream has expired by then.
 */
export async function checkCounts(redis: Redis): Promise<Violation[]> {
  const wanted = new Map<string, number>()
  const states = new Map<string, number>()
  const found: Violation[] = []
  for (const key of await redis.keys(KEYS.events('*'))) {
    try {
      const events = ((await redis.xrange(key, '-', '+')) as RawEntry[]).map((entry) =>
        parseEntry(parseRawEntry(entry)),
      )
      countEvents(wanted, events)
      states.set(stateIn(events), (states.get(stateIn(events)) ?? 0) + 1)
    } catch (error) {
      found.push({ check: 'counts', message: String(error) })
    }
  }
  const messages = compareCounts(await redis.hgetall(KEYS.counters), wanted)
  for (const state of JOB_STATES) {
    const [indexed, expected] = [await redis.zcard(KEYS.index(state)), states.get(state) ?? 0]
    if (indexed !== expected) messages.push(`the index has ${indexed} jobs ${state}, there are ${expected}`)
  }
  return [...found, ...messages.map((message): Violation => ({ check: 'counts', message }))]
}

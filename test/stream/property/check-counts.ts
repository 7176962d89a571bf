import type { Redis } from 'ioredis'
import { BOUNDS } from '../../../src/contract/counters.ts'
import type { HistogramName } from '../../../src/contract/counters.ts'
import type { JobEvent } from '../../../src/contract/event.ts'
import { JOB_STATES } from '../../../src/contract/job-states.ts'
import type { PoolKeys } from '../../../src/contract/keys.ts'

/** Holds counters and index of a pool with one job against its events; a sentence when they do not fit. */
export async function checkCounts(
  redis: Redis,
  keys: PoolKeys,
  jobId: string,
  events: readonly JobEvent[],
): Promise<string | undefined> {
  const counters = await redis.hgetall(keys.counters)
  const wanted = countsIn(events)
  for (const field of new Set([...Object.keys(counters), ...wanted.keys()])) {
    const [got, expected] = [Number(counters[field] ?? 0), wanted.get(field) ?? 0]
    if (got !== expected) return `the counter ${field} is ${got}, the events say ${expected}`
  }
  const scores = await Promise.all(keys.indexes.map((key) => redis.zscore(key, jobId)))
  const states = JOB_STATES.filter((_, at) => scores[at] !== null).join(' and ')
  const state = stateIn(events)
  return states === state ? undefined : `the index says ${states || 'nothing'}, the events say ${state}`
}

/** What the events of a job that is over count for, said in another way than the code under test says it. */
function countsIn(events: readonly JobEvent[]): Map<string, number> {
  const counts = new Map<string, number>()
  const add = (field: string, count: number) => counts.set(field, (counts.get(field) ?? 0) + count)
  const observe = (name: HistogramName, ms: number) => {
    const above = BOUNDS[name].filter((bound) => bound * 1000 >= ms)
    add(`${name}:interactive:${above[0] ?? '+Inf'}`, 1)
    add(`${name}:interactive:sum`, ms)
  }
  const first = events.find(({ event }) => event === 'started')
  if (first?.event === 'started') {
    add('started:interactive', 1)
    observe('queue_time', first.data.queue_time_ms)
  }
  if (events[0]?.event === 'queued') add('queued:interactive', 1)
  add('tokens:out', events.filter(({ event }) => event === 'token').length)
  const last = events.at(-1)
  if (last?.event === 'error') add(`jobs:${stateIn(events)}:${last.data.code}`, 1)
  if (last?.event === 'end') {
    add('jobs:ended:', 1)
    add('tokens:in', last.data.tokens_in ?? 0)
    observe('first_token', last.data.first_token_ms)
    observe('duration', last.data.first_token_ms + (last.data.decode_time_ms ?? 0))
  }
  return counts
}

function stateIn(events: readonly JobEvent[]): string {
  const last = events.at(-1)
  if (last?.event === 'end') return 'ended'
  if (last?.event !== 'error') return 'nothing'
  return last.data.code === 'CANCELLED' ? 'cancelled' : 'failed'
}

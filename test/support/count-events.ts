import { BOUNDS } from '../../src/contract/counters.ts'
import type { HistogramName } from '../../src/contract/counters.ts'
import type { JobEvent } from '../../src/contract/event.ts'
import type { Priority } from '../../src/contract/job.ts'

/**
 * Adds what the events of a job that is over count for, said in another way than the code under test says it: by the fields
 * of the pool's counters.
 *
 * @param given the job's priority if its events lack it
 */
export function countEvents(
  counts: Map<string, number>,
  events: readonly JobEvent[],
  given: Priority = 'interactive',
): void {
  const [opening] = events
  const priority = opening?.event === 'queued' ? (opening.data.priority ?? '') : given
  const add = (field: string, count: number) => counts.set(field, (counts.get(field) ?? 0) + count)
  const observe = (name: HistogramName, ms: number) => {
    const above = BOUNDS[name].filter((bound) => bound * 1000 >= ms)
    add(`${name}:${priority}:${above[0] ?? '+Inf'}`, 1)
    add(`${name}:${priority}:sum`, ms)
  }
  if (opening?.event === 'queued') add(`queued:${priority}`, 1)
  const first = events.find(({ event }) => event === 'started')
  if (first?.event === 'started') {
    add(`started:${priority}`, 1)
    observe('queue_time', first.data.queue_time_ms)
  }
  add('tokens:out', events.filter(({ event }) => event === 'token').length)
  const last = events.at(-1)
  if (last?.event === 'error') add(`jobs:${stateIn(events)}:${last.data.code}`, 1)
  if (last?.event !== 'end') return
  add('jobs:ended:', 1)
  add('tokens:in', last.data.tokens_in ?? 0)
  observe('first_token', last.data.first_token_ms)
  if (last.data.decode_time_ms !== undefined)
    observe('duration', last.data.first_token_ms + last.data.decode_time_ms)
}

/** The state of a job that is over, as its events say; `nothing` when it is not. */
export function stateIn(events: readonly JobEvent[]): string {
  const last = events.at(-1)
  if (last?.event === 'end') return 'ended'
  if (last?.event !== 'error') return 'nothing'
  return last.data.code === 'CANCELLED' ? 'cancelled' : 'failed'
}

/** Sentences for what counters say otherwise than events do. */
export function compareCounts(
  counters: Readonly<Record<string, string>>,
  wanted: ReadonlyMap<string, number>,
): string[] {
  return [...new Set([...Object.keys(counters), ...wanted.keys()])].flatMap((field) => {
    const [got, expected] = [Number(counters[field] ?? 0), wanted.get(field) ?? 0]
    return got === expected ? [] : [`the counter ${field} is ${got}, the events say ${expected}`]
  })
}

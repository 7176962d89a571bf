import { boundOf, counterFields } from '../contract/counters.ts'
import type { HistogramName, KnownPriority } from '../contract/counters.ts'
import type { EventData } from '../contract/event.ts'
import { JOB_STATES, stateOfError } from '../contract/job-states.ts'
import type { JobStateName } from '../contract/job-states.ts'
import type { LogEntry } from './entry.ts'

/** An increment that the script computes: the tokens in the stream before the write. */
const PUBLISHED = '?'

/** Increments of the pool's counters, by field. */
type Add = readonly [field: string, count: number | typeof PUBLISHED]

/** What an entry changes besides the stream: the job's state in the index, and the pool's counters. */
interface Step {
  readonly state: JobStateName
  readonly adds: readonly Add[]
}

/** What a write changes besides the stream. */
export interface Change extends Step {
  readonly priority: KnownPriority
}

/**
 * The change that goes with entries; undefined for all but `queued`, the first `started` and the seal. It depends only on the
 * entries and the job's priority. So entries that Redis lost and that are written again count again, as they should: Redis lost
 * their counts, too.
 */
export function changeOf(entries: readonly LogEntry[], priority: KnownPriority): Change | undefined {
  let state: JobStateName | undefined
  let known = priority
  const adds: Add[] = []
  for (const entry of entries) {
    // One entry in a thousand is another.
    if (entry.event === 'token' || entry.event === 'metrics') continue
    const step = stepOf(entry, priority)
    if (step === undefined) continue
    if (entry.event === 'queued') known = readData(entry).priority ?? priority
    state = step.state
    adds.push(...step.adds)
  }
  return state === undefined
    ? undefined
    : { state, priority: known, adds: adds.filter(([, count]) => count !== 0) }
}

function stepOf(entry: LogEntry, priority: KnownPriority): Step | undefined {
  const data = readData(entry)
  switch (entry.event) {
    case 'queued':
      return { state: 'queued', adds: [[counterFields.queued(data.priority ?? priority), 1]] }
    case 'started':
      if (data.attempt !== 1) return undefined
      return {
        state: 'started',
        adds: [[counterFields.started(priority), 1], ...observe('queue_time', priority, data.queue_time_ms)],
      }
    case 'end':
      return { state: 'ended', adds: endAdds(data, priority) }
    case 'error': {
      const code = data.code ?? ''
      const state = stateOfError(code)
      const tokens: Add = [counterFields.tokens('out'), data.tokens_out ?? PUBLISHED]
      return { state, adds: [[counterFields.jobs(state, code), 1], tokens] }
    }
    case 'token':
    case 'metrics':
      return undefined
  }
}

function endAdds(data: Data, priority: KnownPriority): Add[] {
  const { first_token_ms: firstTokenMs, decode_time_ms: decodeMs } = data
  const whole = firstTokenMs === undefined || decodeMs === undefined ? undefined : firstTokenMs + decodeMs
  return [
    [counterFields.jobs('ended', ''), 1],
    [counterFields.tokens('in'), data.tokens_in ?? 0],
    [counterFields.tokens('out'), data.tokens_out ?? 0],
    ...observe('first_token', priority, firstTokenMs),
    ...observe('duration', priority, whole),
  ]
}

function observe(name: HistogramName, priority: KnownPriority, ms: number | undefined): Add[] {
  if (ms === undefined) return []
  const bucket = counterFields.bucket(name, priority, boundOf(name, ms))
  return [
    [bucket, 1],
    [counterFields.sum(name, priority), ms],
  ]
}

type Data = Partial<EventData['queued'] & EventData['started'] & EventData['end'] & EventData['error']>

/** Parses without throwing: the data is our own, and a write must not fail because it cannot be counted. */
function readData({ data }: LogEntry): Data {
  try {
    return JSON.parse(data) as Data
  } catch {
    return {}
  }
}

/** A change as arguments of the script: the priority, the index (from 1), and the increments as words. */
export function packChange({ priority, state, adds }: Change): [string, state: number, adds: string] {
  const words = adds.map(([field, count]) => `${field} ${count}`)
  return [priority, JOB_STATES.indexOf(state) + 1, words.join(' ')]
}

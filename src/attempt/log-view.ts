import type { EventData } from '../contract/event.ts'
import { SEAL_ID, epochMs, idParts } from '../contract/stream-id.ts'
import { tokensAfter } from '../stream/deadline-sweep.ts'
import { parseEntry } from '../stream/entry.ts'
import type { LogEntry } from '../stream/entry.ts'

/** What a worker that picks a job up learns from its stream. */
export interface LogView {
  readonly sealed: boolean
  readonly queued: EventData['queued'] | undefined
  /** How many `started` there are. */
  readonly attempts: number
  /** How many tokens are published: the index of the next one. */
  readonly tokens: number
  /** When the first attempt began (ms since 1970, Redis's clock). */
  readonly firstStartedAt: number | undefined
  /** The epoch of the last attempt; 0 without one. */
  readonly lastEpoch: number
  /** The replica of the last attempt. */
  readonly lastReplica: string | undefined
}

/** Reads a whole stream. */
export function viewLog(entries: readonly LogEntry[]): LogView {
  const started = entries.filter((entry) => entry.event === 'started')
  const first = started[0]
  const latest = started.at(-1)
  const last = entries.at(-1)
  // A cancel seals without looking, so an `error` may not say how many tokens there are; the entry before it does.
  const counting = entries.findLast((entry) => entry.event !== 'error')
  const opening = entries[0] === undefined ? undefined : parseEntry(entries[0])
  return {
    sealed: last?.id === SEAL_ID,
    queued: opening?.event === 'queued' ? opening.data : undefined,
    attempts: started.length,
    tokens: counting === undefined ? 0 : tokensAfter(counting),
    firstStartedAt: first === undefined ? undefined : epochMs(idParts(first.id).epoch),
    lastEpoch: latest === undefined ? 0 : idParts(latest.id).epoch,
    lastReplica: latest && replicaOf(latest),
  }
}

/** How often each replica has begun the job. */
export function countAttempts(entries: readonly LogEntry[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const entry of entries) {
    const replica = entry.event === 'started' ? replicaOf(entry) : undefined
    if (replica !== undefined) counts.set(replica, (counts.get(replica) ?? 0) + 1)
  }
  return counts
}

function replicaOf(started: LogEntry): string | undefined {
  const event = parseEntry(started)
  return event.event === 'started' ? event.data.replica_id : undefined
}

/** The part of an answer that is published. */
export interface Published {
  /** In order, from index 0; never empty. */
  readonly tokens: readonly EventData['token'][]
  /**
   * The index of the first token that the last request generated: what it fed was the prompt and the text of the tokens
   * before. 0 until an attempt went on with `continue`.
   */
  readonly seam: number
  /** The build and model that generated from the seam on. */
  readonly by: Pick<EventData['started'], 'engine_version' | 'model_id'>
}

/** Reads the tokens of a stream that has some. */
export function readPublished(entries: readonly LogEntry[]): Published {
  const tokens: EventData['token'][] = []
  let seam = 0
  let by: EventData['started'] | undefined
  for (const entry of entries) {
    if (entry.event !== 'started' && entry.event !== 'token') continue
    const event = parseEntry(entry)
    if (event.event === 'token') tokens.push(event.data)
    if (event.event !== 'started') continue
    if (event.data.resume?.mode === 'continue') seam = event.data.next_token
    // An attempt that goes on repeats what is there with the same build; before the first token any build may follow.
    if (event.data.next_token === seam) by = event.data
  }
  if (by === undefined) throw new Error('tokens without an attempt that wrote them')
  return { tokens, seam, by }
}

/** The text of tokens, as readers join it. */
export function textOfTokens(tokens: readonly EventData['token'][]): string {
  return tokens.map(({ t, special }) => (special === true ? '' : t)).join('')
}

import type { EventData } from '../contract/event.ts'
import { SEAL_ID, idParts } from '../contract/stream-id.ts'
import { tokensAfter } from '../stream/deadline-sweep.ts'
import { parseEntry } from '../stream/entry.ts'
import type { LogEntry } from '../stream/entry.ts'

/** What a job's stream tells whoever picks the job up. */
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
}

/** Reads a whole stream. */
export function viewLog(entries: readonly LogEntry[]): LogView {
  const started = entries.filter((entry) => entry.event === 'started')
  const first = started[0]
  const latest = started.at(-1)
  const last = entries.at(-1)
  // A cancel seals without looking, so an `error` may not say how many tokens there are; the entry before it does.
  const telling = entries.findLast((entry) => entry.event !== 'error')
  const opening = entries[0] === undefined ? undefined : parseEntry(entries[0])
  return {
    sealed: last?.id === SEAL_ID,
    queued: opening?.event === 'queued' ? opening.data : undefined,
    attempts: started.length,
    tokens: telling === undefined ? 0 : tokensAfter(telling),
    firstStartedAt: first === undefined ? undefined : idParts(first.id).epoch,
    lastEpoch: latest === undefined ? 0 : idParts(latest.id).epoch,
  }
}

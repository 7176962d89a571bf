import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { PoolError } from '../contract/error.ts'
import { isTerminal } from '../contract/event.ts'
import type { TerminalEvent } from '../contract/event.ts'
import type { PoolKeys } from '../contract/keys.ts'
import { SEAL_ID } from '../contract/stream-id.ts'
import { parseEntry, parseRawEntry } from './entry.ts'
import type { RawEntry } from './entry.ts'
import { errorData } from './seal.ts'

/** Options of a watch. */
export interface EndWatchOptions {
  /** A connection of role `lookup`; the caller closes it after stopping the watch. */
  readonly redis: Redis
  readonly keys: PoolKeys
  /** How often Redis is asked (ms). @defaultValue 100 */
  readonly everyMs?: number | undefined
  /** A job has ended and is no longer watched. The next ends are read only when this resolves. Must not throw. */
  readonly onEnd: (jobId: string, event: TerminalEvent) => Promise<void>
  /** A watched job has no stream: it was never enqueued, has expired, was erased, or Redis lost it. */
  readonly onMissing: (jobId: string) => void
  /** Redis did not answer; called once until it does. */
  readonly onAway: (error: unknown) => void
  /** Redis answers again. */
  readonly onBack: () => void
  /** The connection was lost and is back: Redis may have lost what it had last accepted. */
  readonly onReconnect: () => void
}

/** Waits for the ends of jobs, any number of them over one connection. */
export interface EndWatch {
  add(jobId: string): void
  delete(jobId: string): void
  /** Resolves when no further callback will be called. Idempotent. */
  stop(): Promise<void>
}

const EVERY_MS = 100
/** How many answers are read at once: each may have 1 MiB of text. */
const AT_ONCE = 16

/**
 * Watches jobs of one pool without reading tokens. A job leaves `deadlines` in the step that seals its stream, so one ZMSCORE shows
 * which jobs have ended, and only their seals are read.
 */
export function watchEnds(options: EndWatchOptions): EndWatch {
  const { redis, keys } = options
  const watched = new Set<string>()
  const stopping = new AbortController()
  let lost = false
  let away = false
  const onClose = () => {
    lost = true
  }
  redis.on('close', onClose)

  async function look(): Promise<void> {
    if (watched.size === 0 && !lost) return
    const ids = [...watched]
    // Ask even without jobs, to notice when Redis is reachable again.
    const deadlines = ids.length === 0 ? [] : await redis.zmscore(keys.deadlines, ids)
    if (ids.length === 0) await redis.time()
    const wasLost = lost
    lost = false
    const over = ids.filter((_, index) => deadlines[index] === null)
    for (let at = 0; at < over.length && !stopping.signal.aborted; at += AT_ONCE)
      await Promise.all(over.slice(at, at + AT_ONCE).map(lookAt))
    if (wasLost && !stopping.signal.aborted) options.onReconnect()
  }

  async function lookAt(jobId: string): Promise<void> {
    const stream = keys.events(jobId)
    const [seal, exists] = await Promise.all([redis.xrange(stream, SEAL_ID, SEAL_ID), redis.exists(stream)])
    if (stopping.signal.aborted || !watched.has(jobId)) return
    const [entry] = seal as RawEntry[]
    if (entry !== undefined) {
      watched.delete(jobId)
      await options.onEnd(jobId, readSeal(entry, keys.pool))
    } else if (exists === 0) {
      options.onMissing(jobId)
    }
  }

  async function run(): Promise<void> {
    while (!stopping.signal.aborted) {
      // Ignore the error's kind: the next round asks the same question.
      await look().then(
        () => {
          if (away) options.onBack()
          away = false
        },
        (error: unknown) => {
          if (!away && !stopping.signal.aborted) options.onAway(error)
          away = true
        },
      )
      await sleep(options.everyMs ?? EVERY_MS, undefined, { signal: stopping.signal }).catch(() => undefined)
    }
    redis.off('close', onClose)
  }

  const running = run()
  return {
    add: (jobId) => void watched.add(jobId),
    delete: (jobId) => void watched.delete(jobId),
    stop() {
      stopping.abort()
      return running
    },
  }
}

/** Parses a terminal event; one that cannot be read becomes `INTERNAL`. */
function readSeal(raw: RawEntry, pool: string): TerminalEvent {
  try {
    const event = parseEntry(parseRawEntry(raw))
    if (isTerminal(event)) return event
  } catch (error) {
    if (!(error instanceof PoolError)) throw error
  }
  const data = errorData('INTERNAL', { message: 'its terminal event cannot be read', pool_id: pool })
  return { id: SEAL_ID, event: 'error', data }
}

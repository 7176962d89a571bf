/**
 * Reads one job's events from any cursor to the terminal one, live, across lost connections and failovers.
 *
 * A cursor is the id of the last entry that was seen. It names its whole past, so whether a reader may go on from
 * it is one question: does that entry exist? It is asked at the start, whenever the hub lost its line, and whenever
 * nothing comes. What is read must also fit what was read before (token indexes, `next_token`, `tokens_out`). When
 * either fails, Redis has lost what the reader holds: it yields `restart` and begins again from the first entry.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { PoolError } from '../contract/error.ts'
import { isTerminal } from '../contract/event.ts'
import type { JobEvent } from '../contract/event.ts'
import type { PoolKeys } from '../contract/keys.ts'
import { START } from '../contract/stream-id.ts'
import type { Cursor } from '../contract/stream-id.ts'
import { bareCause, isConnectionError, isRefusal } from '../redis/fault.ts'
import { unlessAborted } from '../runtime/unless-aborted.ts'
import { parseEntry, parseRawEntry } from './entry.ts'
import type { RawEntry } from './entry.ts'
import type { Hub } from './hub.ts'
import type { Tap } from './tap.ts'

/** Drop all that you have read: Redis lost events in a failover, and the events start again. It is in no stream. */
export interface Restart {
  /** The cursor before the first event. */
  readonly id: typeof START
  /** Distinguishes it from a job's own events. */
  readonly event: 'restart'
  /** What happened. */
  readonly data: {
    /** `cursor_missing`: the event to resume after is gone; `misfit`: what follows does not fit what was read. */
    readonly reason: 'cursor_missing' | 'misfit'
  }
}

/** How to read. */
export interface ReadOptions {
  /** Where live entries come from; it outlives the reader. */
  readonly hub: Hub
  readonly keys: PoolKeys
  readonly jobId: string
  /** The last id seen. @defaultValue {@link START} */
  readonly after?: Cursor | undefined
  /** Ends the iteration by throwing its reason. */
  readonly signal?: AbortSignal | undefined
  /** Whether BullMQ holds the job unfinished: then its stream is still to come. */
  readonly queueHolds: (jobId: string) => Promise<boolean>
  /** How long Redis may be away before the reader gives up (ms). @defaultValue 30000 */
  readonly patienceMs?: number | undefined
}

const PAGE = 512
const RETRY_MS = 100
/** A log that does not fit itself is our fault; a failover or two in a row is not. */
const MAX_RESTARTS = 5

/**
 * Yields every event after `after`, in order, each once; ends after the terminal one. A cursor at the terminal
 * event yields nothing. Events may be shared with other readers of the job: they are not to be changed.
 *
 * @throws {@link PoolError} `UNKNOWN_JOB` when there is no such job; `GONE` when its events have expired;
 * `REDIS_UNAVAILABLE` when Redis stays away; the signal's reason.
 */
export async function* readEvents(options: ReadOptions): AsyncGenerator<JobEvent | Restart, void, undefined> {
  const { signal } = options
  const place = new Place(options.after ?? START)
  const patience = new Patience(options.patienceMs ?? 30_000)
  let tap: Tap | undefined
  const onAbort = () => tap?.end()
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    while (!place.over) {
      signal?.throwIfAborted()
      try {
        const session = await unlessAborted(options.hub.session(options.keys), signal)
        const page = await unlessAborted(readPage(options, session.redis, place), signal)
        patience.renew()
        if (page === undefined) {
          yield place.restart('cursor_missing')
          continue
        }
        yield* place.take(page.events)
        if (page.more || place.over || !place.checked) continue
        // An event that arrived while the last one was inspected woke no waiter.
        signal?.throwIfAborted()
        tap = session.follow(options.keys, options.jobId, place.cursor)
        let events = await tap?.next()
        while (events !== undefined) {
          yield* place.take(events)
          if (place.over || !place.checked) break
          events = await tap?.next()
        }
        // Whatever ended it, where to go on is the same question again.
        place.checked = false
        if (session.over) await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined)
      } catch (error) {
        signal?.throwIfAborted()
        if (!isAway(error)) throw error
        patience.spend(options.jobId, error)
        place.checked = false
        await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined)
      } finally {
        tap?.end()
      }
    }
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
}

/** Whether Redis may be back in a moment. */
function isAway(error: unknown): boolean {
  if (error instanceof PoolError) return error.kind === 'REDIS_UNAVAILABLE'
  return isConnectionError(error) || isRefusal(error)
}

/** How long a reader goes on while Redis is away. */
class Patience {
  private since: number | undefined
  private readonly ms: number

  constructor(ms: number) {
    this.ms = ms
  }

  renew(): void {
    this.since = undefined
  }

  /** @throws {@link PoolError} `REDIS_UNAVAILABLE` when it is used up. */
  spend(jobId: string, cause: unknown): void {
    this.since ??= performance.now()
    if (performance.now() - this.since <= this.ms) return
    throw new PoolError('REDIS_UNAVAILABLE', `Redis went away while reading job ${jobId}`, {
      cause: bareCause(cause),
    })
  }
}

/** Where a reader is, and how many tokens it holds there. */
class Place {
  cursor: Cursor
  /** Undefined until an entry has shown it. */
  held: number | undefined
  /** The entry at the cursor is known to exist on this connection. */
  checked = false
  over = false
  private restarts = 0

  constructor(cursor: Cursor) {
    this.cursor = cursor
    this.held = cursor === START ? 0 : undefined
  }

  /** Yields events that follow, as far as they fit; when one does not, the reader begins again. */
  *take(events: readonly JobEvent[]): Generator<JobEvent | Restart, void, undefined> {
    for (const event of events) {
      if (!this.accepts(event)) {
        yield this.restart('misfit')
        return
      }
      yield event
    }
  }

  private accepts(event: JobEvent): boolean {
    const held = this.held
    const before = tokensBefore(event)
    if (held !== undefined && before !== undefined) {
      if (event.event === 'started' ? before > held : before !== held) return false
    }
    this.stand(event)
    return true
  }

  /** Puts the reader at an event that is known to be there. */
  stand(event: JobEvent): void {
    this.cursor = event.id
    this.held = event.event === 'token' ? event.data.i + 1 : (tokensBefore(event) ?? this.held)
    this.over = isTerminal(event)
  }

  restart(reason: Restart['data']['reason']): Restart {
    this.restarts += 1
    if (this.restarts > MAX_RESTARTS) {
      throw new PoolError(
        'INTERNAL',
        `the events before ${this.cursor} do not fit together, read ${MAX_RESTARTS} times`,
      )
    }
    this.cursor = START
    this.held = 0
    this.checked = false
    return { id: START, event: 'restart', data: { reason } }
  }
}

/** How many tokens the stream holds before an event, as far as the event shows. */
function tokensBefore(event: JobEvent): number | undefined {
  switch (event.event) {
    case 'queued':
      return 0
    case 'started':
      return event.data.next_token
    case 'token':
      return event.data.i
    case 'metrics':
    case 'end':
    case 'error':
      return event.data.tokens_out
  }
}

interface Page {
  readonly events: readonly JobEvent[]
  /** There may be more above it. */
  readonly more: boolean
}

/**
 * Reads on from the cursor; undefined when the entry there is missing. Where it is not known to exist, the page is read
 * from that entry on, so that one command answers both.
 */
async function readPage(options: ReadOptions, redis: Redis, place: Place): Promise<Page | undefined> {
  const key = options.keys.events(options.jobId)
  const { cursor, checked } = place
  const raw = (await redis.xrange(key, checked ? `(${cursor}` : cursor, '+', 'COUNT', PAGE)) as RawEntry[]
  const events = raw.map((entry) => parseEntry(parseRawEntry(entry)))
  const more = raw.length === PAGE
  if (checked) return { events, more }
  const [first, ...others] = events
  if (first === undefined) await mustExist(options, redis, key, cursor)
  if (cursor !== START && first?.id !== cursor) return undefined
  place.checked = true
  if (cursor === START) return { events, more }
  if (first !== undefined) place.stand(first)
  return { events: others, more }
}

/** Nothing is there at the cursor: whether there is a stream at all, or one to come. */
async function mustExist(options: ReadOptions, redis: Redis, key: string, cursor: Cursor): Promise<void> {
  const { jobId, keys } = options
  if ((await redis.exists(key)) !== 0) return
  if ((await options.queueHolds(jobId)) || (await redis.exists(key)) !== 0) return
  throw cursor === START
    ? new PoolError('UNKNOWN_JOB', `no job ${jobId} in pool ${keys.pool}, or its events have expired`)
    : new PoolError(
        'GONE',
        `the events of job ${jobId} in pool ${keys.pool} are gone: they have expired, or Redis lost them`,
      )
}

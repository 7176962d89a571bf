/**
 * Reads one job's events from any cursor to the terminal one, live, across lost connections and failovers.
 *
 * A cursor is the id of the last entry that was seen. It names its whole past, so whether a reader may go on from
 * it is one question: does that entry exist? It is asked at the start, after every reconnection and whenever
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
import { disconnectRedis, isConnectionError, isRefusal } from '../redis/connect.ts'
import { unlessAborted } from '../runtime/unless-aborted.ts'
import { parseEntry, parseRawEntry } from './entry.ts'
import type { RawEntry } from './entry.ts'

/**
 * Not in any stream: tells whoever reads to drop all that was read before, since what follows begins again.
 * Its id is the cursor before the first entry.
 */
export interface Restart {
  readonly id: typeof START
  readonly event: 'restart'
  readonly data: { readonly reason: 'cursor_missing' | 'misfit' }
}

/** How to read. */
export interface ReadOptions {
  /** A connection of this reader's own; it blocks in XREAD. The caller closes it. */
  readonly redis: Redis
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

const BLOCK_MS = 5000
const READ_COUNT = 512
const RETRY_MS = 100
/** A log that does not fit itself is our fault; a failover or two in a row is not. */
const MAX_RESTARTS = 5

/**
 * Yields every event after `after`, in order, each once; ends after the terminal one. A cursor at the terminal
 * event yields nothing.
 *
 * @throws {@link PoolError} `UNKNOWN_JOB` when there is no such job; `GONE` when its events have expired;
 * `REDIS_UNAVAILABLE` when Redis stays away; the signal's reason.
 */
export async function* readEvents(options: ReadOptions): AsyncGenerator<JobEvent | Restart, void, undefined> {
  const { redis, signal } = options
  const key = options.keys.events(options.jobId)
  const place = new Place(options.after ?? START)
  let downSince: number | undefined
  // XREAD cannot be taken back, the line it waits on can be cut.
  const onAbort = () => disconnectRedis(redis)
  signal?.addEventListener('abort', onAbort, { once: true })
  try {
    while (!place.over) {
      signal?.throwIfAborted()
      try {
        if (!place.checked) {
          const restart = await unlessAborted(checkPlace(options, key, place), signal)
          if (restart !== undefined) yield restart
          continue
        }
        const read = redis.xread('COUNT', READ_COUNT, 'BLOCK', BLOCK_MS, 'STREAMS', key, place.cursor)
        const reply = await unlessAborted(read, signal)
        downSince = undefined
        if (reply === null) place.checked = false
        for (const raw of (reply?.[0]?.[1] ?? []) as RawEntry[]) {
          const event = parseEntry(parseRawEntry(raw))
          if (!place.accepts(event)) {
            yield place.restart('misfit')
            break
          }
          yield event
        }
      } catch (error) {
        signal?.throwIfAborted()
        if (!isConnectionError(error) && !isRefusal(error)) throw error
        downSince ??= performance.now()
        if (performance.now() - downSince > (options.patienceMs ?? 30_000)) {
          throw new PoolError('REDIS_UNAVAILABLE', `Redis went away while reading job ${options.jobId}`, {
            cause: error,
          })
        }
        place.checked = false
        await sleep(RETRY_MS, undefined, { signal }).catch(() => undefined)
      }
    }
  } finally {
    signal?.removeEventListener('abort', onAbort)
  }
}

/** Where a reader is, and how many tokens it holds there. */
class Place {
  cursor: Cursor
  /** Undefined until an entry has told. */
  held: number | undefined
  /** The entry at the cursor is known to exist on this connection. */
  checked = false
  over = false
  private restarts = 0

  constructor(cursor: Cursor) {
    this.cursor = cursor
    this.held = cursor === START ? 0 : undefined
  }

  /** Takes an event that follows, if it fits. */
  accepts(event: JobEvent): boolean {
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

/** How many tokens the stream holds before an event, as far as the event tells. */
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

/** Looks whether the entry at the cursor exists; without a stream, whether one is to come. */
async function checkPlace(options: ReadOptions, key: string, place: Place): Promise<Restart | undefined> {
  const { redis, jobId } = options
  const [raw] =
    place.cursor === START ? [] : ((await redis.xrange(key, place.cursor, place.cursor)) as RawEntry[])
  if (raw !== undefined) {
    place.stand(parseEntry(parseRawEntry(raw)))
    place.checked = true
    return undefined
  }
  if (
    (await redis.exists(key)) === 0 &&
    !(await options.queueHolds(jobId)) &&
    (await redis.exists(key)) === 0
  ) {
    throw place.cursor === START
      ? new PoolError(
          'UNKNOWN_JOB',
          `no job ${jobId} in pool ${options.keys.pool}, or its events have expired`,
        )
      : new PoolError(
          'GONE',
          `the events of job ${jobId} in pool ${options.keys.pool} are gone: they have expired, or Redis lost them`,
        )
  }
  if (place.cursor !== START) return place.restart('cursor_missing')
  place.checked = true
  return undefined
}

import { setImmediate as immediate, setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { SEAL_ID, compareIds } from '../contract/stream-id.ts'
import type { Cursor } from '../contract/stream-id.ts'
import { disconnectRedis } from '../redis/connect.ts'
import { isForbidden } from '../redis/fault.ts'
import { parseEntry, parseRawEntry } from './entry.ts'
import type { RawEntry } from './entry.ts'
import { createTap } from './tap.ts'
import type { Tap, TapInlet } from './tap.ts'

/** What a feed needs. */
export interface FeedOptions {
  /** A new connection of role `blocking`. */
  readonly connect: () => Promise<Redis>
  /** Another connection to the same server, which is never blocked. */
  readonly lookUp: Redis
  /** Its connection was lost, or was never made. */
  readonly onEnd: () => void
}

/** One blocking XREAD over many streams of one pool, again and again. */
export interface Feed {
  /** How many streams it reads. */
  readonly size: number
  has(key: string): boolean
  /** What follows `cursor`; undefined when the stream was read past it already. */
  follow(key: string, cursor: Cursor): Tap | undefined
  end(): void
}

/** One stream, read once for all its readers. */
interface Topic {
  cursor: Cursor
  /** Where the read that is under way began; undefined when it began without this topic. */
  asked: Cursor | undefined
  readonly taps: Set<TapInlet>
  /** When it last brought something, or was joined (ms of the process). */
  heardAt: number
}

const BLOCK_MS = 5000
/**
 * The same where the Redis user may not end its own blocking read (CLIENT UNBLOCK would let it end anybody's): a new stream
 * waits for the end of the read. An idle feed then costs 40 reads a second, one with 1,000 streams 10.
 */
const SHORT_BLOCK_MS = 25
const STREAMS_PER_SHORT_BLOCK_MS = 10
/** A read that takes longer than it may block, and this: the server is frozen, or the line is dead without a word. */
const DEAD_MS = 10_000
const READ_COUNT = 128
/** A reader that hears nothing for this long looks itself whether its stream is there still. */
const SILENCE_MS = 5000
/** Streams for each ms of pause after a read: 1,000 live streams cost 200 reads a second at most; fewer than 200 need no pause. */
const STREAMS_PER_PAUSE_MS = 200

/** Until all that waits in this turn of the event loop is done: what readers send on goes out before the next read. */
async function turn(): Promise<void> {
  await immediate()
  await immediate()
}

/** Whether the connection's user may end a blocking read: there is no client 0. */
async function isUnblockAllowed(redis: Redis): Promise<boolean> {
  try {
    await redis.client('UNBLOCK', 0)
    return true
  } catch (error) {
    if (isForbidden(error)) return false
    throw error
  }
}

/** A feed that connects at once and reads while anybody follows a stream. */
export function createFeed(options: FeedOptions): Feed {
  const topics = new Map<string, Topic>()
  let redis: Redis | undefined
  let clientId = 0
  let mayUnblock = true
  let running = false
  let blocked = false
  let cycle = 0
  let over = false

  function end(): void {
    if (over) return
    over = true
    for (const { taps } of topics.values()) for (const tap of taps) tap.end()
    if (redis !== undefined) disconnectRedis(redis)
    options.onEnd()
  }

  async function connect(): Promise<void> {
    const connection = await options.connect()
    redis = connection
    if (over) {
      disconnectRedis(connection)
      return
    }
    connection.once('close', end)
    const [id, allowed] = await Promise.all([connection.client('ID'), isUnblockAllowed(options.lookUp)])
    clientId = id
    mayUnblock = allowed
    run()
  }

  function blockMs(): number {
    if (mayUnblock) return BLOCK_MS
    return Math.max(SHORT_BLOCK_MS, Math.ceil(topics.size / STREAMS_PER_SHORT_BLOCK_MS))
  }

  function run(): void {
    if (running || over || redis === undefined || topics.size === 0) return
    running = true
    readOn(redis)
      .catch(end)
      .finally(() => {
        running = false
        run()
      })
  }

  async function readOn(connection: Redis): Promise<void> {
    // Whoever ends the feed ends every tap, and with its last tap a topic is gone.
    while (topics.size > 0) {
      const keys = [...topics.keys()]
      const cursors = [...topics.values()].map((topic) => (topic.asked = topic.cursor))
      blocked = true
      cycle += 1
      const dead = setTimeout(end, DEAD_MS)
      const reply = await connection
        .xread('COUNT', READ_COUNT, 'BLOCK', blockMs(), 'STREAMS', ...keys, ...cursors)
        .finally(() => clearTimeout(dead))
      blocked = false
      const now = performance.now()
      for (const [key, entries] of reply ?? []) hand(key, entries, now)
      for (const { heardAt, taps } of topics.values()) {
        if (now - heardAt >= SILENCE_MS) for (const tap of taps) tap.end()
      }
      const pauseMs = Math.floor(topics.size / STREAMS_PER_PAUSE_MS)
      if (pauseMs > 0) await sleep(pauseMs)
      else await turn()
    }
  }

  function hand(key: string, raw: readonly RawEntry[], now: number): void {
    const topic = topics.get(key)
    // A topic that was given up and joined anew since may stand below where this read began.
    if (topic?.asked === undefined) return
    topic.heardAt = now
    try {
      const events = raw.map((entry) => parseEntry(parseRawEntry(entry)))
      topic.cursor = events.at(-1)?.id ?? topic.cursor
      for (const tap of topic.taps) tap.push(events)
      // Nothing can follow, so nothing is waited for.
      if (topic.cursor === SEAL_ID) topics.delete(key)
    } catch (error) {
      for (const tap of topic.taps) tap.fail(error)
    }
  }

  /** Takes a read that waits back, so that the next one has the new stream, too. */
  function wake(): void {
    if (!blocked || !mayUnblock) return
    const meant = cycle
    options.lookUp.client('UNBLOCK', clientId).then(
      // The read may not have reached Redis yet.
      (woken) => {
        if (woken === 0 && blocked && cycle === meant) setTimeout(wake, 1)
      },
      () => undefined,
    )
  }

  connect().catch(end)

  return {
    get size() {
      return topics.size
    },
    has: (key) => topics.has(key),
    follow(key, cursor) {
      const topic = topics.get(key) ?? { cursor, asked: undefined, taps: new Set(), heardAt: 0 }
      if (compareIds(topic.cursor, cursor) > 0) return undefined
      const tap = createTap(cursor, () => {
        topic.taps.delete(tap)
        if (topic.taps.size === 0 && topics.get(key) === topic) topics.delete(key)
      })
      topic.taps.add(tap)
      topic.heardAt = performance.now()
      if (!topics.has(key)) {
        topics.set(key, topic)
        wake()
        run()
      }
      return tap
    },
    end,
  }
}

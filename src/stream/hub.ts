/**
 * Live entries of thousands of streams over a few connections.
 *
 * A session is a connection for looking things up and, for each pool with live readers, one blocking connection for
 * every {@link MAX_STREAMS} streams: a feed. A feed holds one position per stream, the topic, whoever reads it. When any
 * connection of a session is lost, the session is over for all its readers at once: each looks again whether its cursor
 * still exists (reader.ts), on the next session. So no reader continues on a server that another one has replaced.
 * On a Cluster a session belongs to one pool, and its connections lead to the node that has the pool's keys.
 *
 * ```
 * reader: XRANGE from its cursor, page by page ── no more? ──▶ follow(cursor) ──▶ tap: what the feed reads from then on
 *    ▲                                                             │ the topic is further already      │
 *    └───────────────── undefined: look again ◀────────────────────┴── overflow, silence, session over ┘
 * ```
 *
 * The seam has no hole, since a topic never stands above the cursor of a tap that joins it, and no repeat, since each
 * tap knows the last id it has. A reader that is slow loses its tap at 512 events (tap.ts) and reads from the
 * log again; it blocks no other reader.
 */
import type { Redis } from 'ioredis'
import type { PoolKeys } from '../contract/keys.ts'
import type { Cursor } from '../contract/stream-id.ts'
import { disconnectRedis } from '../redis/connect.ts'
import { createFeed } from './feed.ts'
import type { Feed } from './feed.ts'
import type { Tap } from './tap.ts'

/** What a hub needs. */
export interface HubOptions {
  /** A new connection of a role to the server that has a pool's keys. */
  readonly connect: (role: 'blocking' | 'lookup', keys: PoolKeys) => Promise<Redis>
  /** Pools may be on several servers: each has sessions of its own. @defaultValue false */
  readonly perPool?: boolean | undefined
}

/** Serves any number of readers. */
export interface Hub {
  /** The session of now for a pool; one is opened when there is none. @throws what connecting throws. */
  session(keys: PoolKeys): Promise<HubSession>
  /** Ends every session, for good. */
  close(): void
}

/** Connections that live and die together. */
interface HubSession {
  /** For looking things up. */
  readonly redis: Redis
  readonly over: boolean
  /** What follows `cursor`, live; undefined when others were read past it already: look again. */
  follow(keys: PoolKeys, jobId: string, cursor: Cursor): Tap | undefined
}

/** Streams on one blocking connection: a cycle of XREAD costs about 1 µs a stream in Redis and another here. */
const MAX_STREAMS = 1000

/** A hub that connects when it is first used. */
export function createHub(options: HubOptions): Hub {
  const sessions = new Map<string, Promise<Session>>()
  let closed = false

  async function open(keys: PoolKeys, onEnd: () => void): Promise<Session> {
    const redis = await options.connect('lookup', keys)
    const session = createSession(redis, () => options.connect('blocking', keys), onEnd)
    if (closed) session.end()
    return session
  }

  return {
    session(keys) {
      const server = options.perPool === true ? keys.pool : ''
      const current = sessions.get(server)
      if (current !== undefined) return current
      const forget = () => {
        if (sessions.get(server) === opening) sessions.delete(server)
      }
      const opening = open(keys, forget)
      sessions.set(server, opening)
      opening.catch(forget)
      return opening
    },
    close() {
      closed = true
      for (const opening of sessions.values()) {
        opening.then(
          (session) => session.end(),
          () => undefined,
        )
      }
    },
  }
}

interface Session extends HubSession {
  end(): void
}

function createSession(redis: Redis, connect: () => Promise<Redis>, onEnd: () => void): Session {
  const feeds = new Map<string, Feed[]>()
  let over = false

  function end(): void {
    if (over) return
    over = true
    onEnd()
    for (const ofPool of feeds.values()) for (const feed of ofPool) feed.end()
    disconnectRedis(redis)
  }
  redis.once('close', end)

  function feedOf(pool: string, key: string): Feed {
    const ofPool = feeds.get(pool) ?? []
    feeds.set(pool, ofPool)
    const known = ofPool.find((feed) => feed.has(key)) ?? ofPool.find(({ size }) => size < MAX_STREAMS)
    if (known !== undefined) return known
    const feed = createFeed({ connect, lookUp: redis, onEnd: end })
    ofPool.push(feed)
    return feed
  }

  return {
    redis,
    get over() {
      return over
    },
    follow(keys, jobId, cursor) {
      const key = keys.events(jobId)
      return over ? undefined : feedOf(keys.pool, key).follow(key, cursor)
    },
    end,
  }
}

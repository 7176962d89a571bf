import type { PoolKeys } from '../contract/keys.ts'
import { MAX_GRACE_MS } from '../contract/limits.ts'
import { readDrain } from '../replica/drain.ts'
import type { DrainWish } from '../replica/drain.ts'
import { redisTimeMs } from '../redis/connect.ts'
import type { RedisConnection } from '../redis/connect.ts'

/** Whose wish is watched, and what follows from it. */
export interface DrainWatchOptions {
  readonly redis: RedisConnection
  readonly keys: PoolKeys
  readonly replicaId: string
  /** What was wished when the worker started. */
  readonly first: DrainWish | undefined
  /** How long running attempts may take to finish when the wish does not say (ms). */
  readonly graceMs: number
  /** A drain was wished, another grace time for it, or its end. */
  readonly onChange: (wish: DrainWish | undefined) => void
  /** The grace time is over. */
  readonly onGraceOver: () => void
  readonly onError: (error: unknown) => void
}

/** Knows whether a worker's replica is to drain. */
export interface DrainWatch {
  /** What is wished, as far as is known. */
  readonly wish: DrainWish | undefined
  /** Looks in Redis; cheap, for every beat and every wake-up. */
  look(): void
  /** Ends the watch; what was wished last stays. */
  stop(): void
}

/** Begins to watch. What cannot be read is as it was. */
export function createDrainWatch(options: DrainWatchOptions): DrainWatch {
  const { redis, keys, replicaId } = options
  let wish = options.first
  let graceOver: NodeJS.Timeout | undefined
  let last: Promise<void> = Promise.resolve()
  let again = false
  let over = false

  async function read(): Promise<void> {
    const next = await readDrain(redis, keys, replicaId)
    if (over || (next?.since === wish?.since && next?.graceMs === wish?.graceMs)) return
    // Counted from the request and not from here, so a worker that sees it late does not prolong the drain.
    const spentMs = next === undefined ? 0 : (await redisTimeMs(redis, keys.config)) - next.since
    if (over) return
    wish = next
    clearTimeout(graceOver)
    options.onChange(wish)
    if (next === undefined) return
    const leftMs = (next.graceMs ?? options.graceMs) - spentMs
    graceOver = setTimeout(options.onGraceOver, Math.min(Math.max(0, leftMs), MAX_GRACE_MS))
  }

  return {
    get wish() {
      return wish
    },
    look() {
      // One that waits already will see the newest.
      if (again || over) return
      again = true
      last = last.then(() => {
        again = false
        return read().catch(options.onError)
      })
    },
    stop() {
      over = true
      clearTimeout(graceOver)
    },
  }
}

import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { PoolClient } from '../client/pool-client.ts'
import { PoolError } from '../contract/error.ts'
import type { PoolKeys } from '../contract/keys.ts'
import { isForbidden } from '../redis/fault.ts'
import { createLimit } from './limit.ts'
import type { Patience } from './patience.ts'

/** Erases recorded jobs from Redis. */
export interface Settler {
  /** How many recorded jobs are not yet erased. */
  readonly left: number
  /** Erases a job, once `after`, which might still create it again, has settled. */
  settle(jobId: string, after?: Promise<void>): void
  /** Erases the jobs recorded by an earlier run that Redis still has. */
  settleEarlier(redis: Redis, jobIds: readonly string[]): Promise<void>
}

/** Options of a settler. */
export interface SettlerOptions {
  readonly pool: PoolClient
  readonly keys: PoolKeys
  readonly patience: Patience
  /** Nothing is erased after that. */
  readonly stop: AbortSignal
  /** A job was erased. */
  readonly onSettled: () => void
  /** The Redis user may not erase jobs; called once. */
  readonly onKept: (error: PoolError) => void
  readonly onError: (error: unknown) => void
}

/** How many jobs are erased at once. */
const AT_ONCE = 32
/** How often to try a job that its worker does not release; after that its events stay until they expire. */
const TRIES = 10
/** How many jobs are looked up at once. */
const PAGE = 256

/** Creates an idle settler. */
export function createSettler(options: SettlerOptions): Settler {
  const { pool, keys, patience, stop } = options
  const limit = createLimit(AT_ONCE)
  let left = 0
  let mayForget = true

  async function forget(jobId: string): Promise<void> {
    for (let tries = 0; tries < TRIES && mayForget; tries += 1) {
      try {
        await patience.through(() => pool.forget(jobId))
        return
      } catch (error) {
        if (stop.aborted || (error instanceof PoolError && error.kind === 'UNKNOWN_JOB')) return
        if (error instanceof PoolError && isForbidden(error.cause)) {
          if (mayForget) options.onKept(error)
          mayForget = false
        } else if (!(error instanceof PoolError) || error.kind !== 'POOL_UNREADY') {
          options.onError(error)
          return
        } else {
          await sleep(error.retryAfterMs ?? 1000, undefined, { signal: stop }).catch(() => undefined)
        }
      }
    }
  }

  const settle: Settler['settle'] = (jobId, after) => {
    left += 1
    void limit(async () => {
      await after
      await forget(jobId)
    }).finally(() => {
      left -= 1
      options.onSettled()
    })
  }

  return {
    get left() {
      return left
    },
    settle,
    async settleEarlier(redis, jobIds) {
      for (let at = 0; at < jobIds.length && !stop.aborted; at += PAGE) {
        const page = jobIds.slice(at, at + PAGE)
        // If the look-up fails, erase it anyway: erasing a missing job does no harm.
        const there = await Promise.all(page.map((jobId) => redis.exists(keys.events(jobId)).catch(() => 1)))
        for (const [index, jobId] of page.entries()) if (there[index] === 1) settle(jobId)
      }
    },
  }
}

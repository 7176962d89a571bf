import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { poolKeys, poolsKey } from '../contract/keys.ts'
import { readPoolConfig } from '../pool/config-store.ts'
import { openJobQueue } from '../queue/job-queue.ts'
import type { JobQueue } from '../queue/job-queue.ts'
import { sweepDeadlines } from '../stream/deadline-sweep.ts'
import { createEventLog } from '../stream/event-log.ts'

/** How to sweep. */
export interface SweeperOptions {
  /** A connection for commands; stays the caller's. */
  readonly redis: Redis
  readonly prefix: string
  /** Only this pool. @defaultValue all pools */
  readonly pool?: string | undefined
  /** @defaultValue 700 */
  readonly beatMs?: number | undefined
  readonly onError: (error: unknown) => void
}

/** A sweeper at work. */
export interface Sweeper {
  /** Resolves when no sweep is under way. Idempotent. */
  stop(): Promise<void>
}

/**
 * Ends jobs of every pool whose deadline has passed, so that an accepted job reaches its terminal event by its
 * deadline + 2 s while any process of ours runs. Every process runs one; the first seal wins.
 */
export function startSweeper(options: SweeperOptions): Sweeper {
  const { redis, prefix } = options
  const stopping = new AbortController()
  const queues = new Map<string, JobQueue>()

  async function sweepPool(pool: string): Promise<void> {
    const keys = poolKeys(pool, prefix)
    let queue = queues.get(pool)
    if (queue === undefined) queues.set(pool, (queue = openJobQueue(redis, keys)))
    const { retention_ms: retentionMs } = await readPoolConfig(redis, keys)
    await sweepDeadlines({ redis, log: createEventLog(redis, keys), queue, keys, retentionMs })
  }

  async function sweep(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        const pools = options.pool === undefined ? await redis.smembers(poolsKey(prefix)) : [options.pool]
        for (const pool of pools) await sweepPool(pool)
      } catch (error) {
        if (!stopping.signal.aborted) options.onError(error)
      }
      await sleep(options.beatMs ?? 700, undefined, { signal: stopping.signal }).catch(() => undefined)
    }
    await Promise.all([...queues.values()].map((queue) => queue.close()))
  }

  const sweeping = sweep()
  return {
    stop() {
      stopping.abort()
      return sweeping
    },
  }
}

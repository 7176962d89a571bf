import { setTimeout as sleep } from 'node:timers/promises'
import { poolKeys, poolsKey } from '../contract/keys.ts'
import { PoolError } from '../contract/error.ts'
import type { PoolConfig } from '../contract/pool-config.ts'
import { invalidNamesError, readPoolConfig, readPoolNames } from '../pool/config-store.ts'
import { openJobQueue } from '../queue/job-queue.ts'
import type { JobQueue } from '../queue/job-queue.ts'
import { bareCause, isForbidden } from '../redis/fault.ts'
import type { RedisConnection } from '../redis/connect.ts'
import { sweepDeadlines } from '../stream/deadline-sweep.ts'
import type { SweepRequest } from '../stream/deadline-sweep.ts'
import type { LogEntry } from '../stream/entry.ts'
import { createEventLog } from '../stream/event-log.ts'
import { trimIndex } from '../stream/job-index.ts'
import { createCancelledJobs } from './cancelled-jobs.ts'
import type { CancelledJobs } from './cancelled-jobs.ts'
import { readEnd } from './job-end.ts'
import type { JobEndListener } from './job-end.ts'
import { createForeignDeadlines } from './foreign-deadlines.ts'
import type { ForeignDeadlines } from './foreign-deadlines.ts'

/** A pool and the ways into it. */
type SweptPool = Pick<SweepRequest, 'keys' | 'log'> & {
  readonly queue: Pick<JobQueue, 'holds' | 'removeWaiting' | 'tidy'>
}

/** Every so many sweeps (about ten seconds), the byte counts are checked against the queues. */
const TIDY_SWEEPS = 14

/** How to sweep. */
export interface SweeperOptions {
  /** A connection for commands; stays the caller's. */
  readonly redis: RedisConnection
  readonly prefix: string
  /** Only this pool, by what the caller has open of it; that stays the caller's. @defaultValue all pools */
  readonly pool?: SweptPool | undefined
  /** @defaultValue 700 */
  readonly beatMs?: number | undefined
  /** Called when this sweeper ended a job. */
  readonly onJobEnd?: JobEndListener | undefined
  readonly onError: (error: unknown) => void
}

/** Every so many sweeps the index is trimmed. */
const TRIM_SWEEPS = 15

/** A sweeper at work. */
export interface Sweeper {
  /** Resolves when no sweep is under way. Idempotent. */
  stop(): Promise<void>
}

/**
 * Ends jobs of every pool whose deadline has passed, so that an accepted job reaches its terminal event by its
 * deadline + 2 s while any process of ours runs. Every process runs one; the first seal wins. The same holds for a plain BullMQ
 * producer's job while at most a thousand jobs wait (foreign-deadlines.ts); each further thousand adds 0.7 s. It also removes
 * cancelled jobs that still wait (cancelled-jobs.ts).
 */
export function startSweeper(options: SweeperOptions): Sweeper {
  const { redis, prefix } = options
  const stopping = new AbortController()
  /** Made once a pool: each event log teaches the connection its script anew. */
  let sweeps = 0
  const opened = new Map<string, SweptPool & { readonly queue: JobQueue }>()
  const scans = new Map<string, ForeignDeadlines>()
  const cancelled = new Map<string, CancelledJobs>()
  const configs = new Map<string, PoolConfig>()
  /** Pools, or parts of their sweep, that the Redis user may not do. It stays so, and Redis would keep a record of every try. */
  const skipped = new Set<string>()
  let invalidNames = 0

  function open(pool: string): SweptPool {
    const keys = poolKeys(pool, prefix)
    const ports = opened.get(pool) ?? {
      keys,
      log: createEventLog(redis, keys),
      queue: openJobQueue(redis, keys),
    }
    opened.set(pool, ports)
    return ports
  }

  async function sweepPool(pool: SweptPool): Promise<void> {
    const id = pool.keys.pool
    const config = await configOf(pool)
    const retentionMs = config.retention_ms
    const reports: Promise<void>[] = []
    const onSealed = (jobId: string, seal: LogEntry) =>
      void reports.push(reportEnd(pool, jobId, seal).catch(options.onError))
    try {
      await sweepDeadlines({ ...pool, redis, retentionMs, onSealed })
    } finally {
      // A thousand that are due together are read beside each other, or the next thousand would wait for them.
      await Promise.all(reports)
    }
    if (sweeps % TRIM_SWEEPS === 0)
      await trimIndex(redis, pool.keys, Math.max(retentionMs, config.max_retention_ms))
    if (sweeps % TIDY_SWEEPS === TIDY_SWEEPS - 1) await pool.queue.tidy()
    const foreign = scans.get(id) ?? createForeignDeadlines(redis, pool.keys)
    scans.set(id, foreign)
    await unlessForbidden(id, 'scan', () => foreign.scan(config))
    const left = cancelled.get(id) ?? createCancelledJobs(redis, pool.keys, pool.queue)
    cancelled.set(id, left)
    await unlessForbidden(id, 'removal', () => left.remove())
  }

  /** A config that cannot be read any more does not keep accepted jobs from their deadlines: the last one applies. */
  async function configOf({ keys }: SweptPool): Promise<PoolConfig> {
    try {
      const config = await readPoolConfig(redis, keys)
      configs.set(keys.pool, config)
      return config
    } catch (error) {
      const last = configs.get(keys.pool)
      if (last === undefined || !isUnreadable(error)) throw error
      if (!stopping.signal.aborted) options.onError(inPool(keys.pool, error))
      return last
    }
  }

  /** Work that a user whose ACL file is older may not do. */
  async function unlessForbidden(pool: string, part: string, work: () => Promise<void>): Promise<void> {
    const name = `${part} of ${pool}`
    if (skipped.has(name) || stopping.signal.aborted) return
    await work().catch((error: unknown) => {
      if (isForbidden(error)) skipped.add(name)
      if (!stopping.signal.aborted) options.onError(inPool(pool, error))
    })
  }

  async function reportEnd({ keys, log }: SweptPool, jobId: string, seal: LogEntry): Promise<void> {
    if (options.onJobEnd !== undefined) options.onJobEnd(await readEnd(log, keys.pool, jobId, seal))
  }

  /** One pool that cannot be swept, e.g. for its config, must not stop the others. */
  function reportFault(error: unknown, pool?: string): void {
    if (stopping.signal.aborted) return
    // Deleted, or being deleted, since its name was read.
    if (pool !== undefined && error instanceof PoolError && error.kind === 'POOL_UNAVAILABLE') return
    // A user who only reads, or may not see other pools.
    if (isForbidden(error)) {
      if (pool === undefined || options.pool !== undefined) stopping.abort()
      else skipped.add(pool)
    }
    options.onError(pool === undefined ? error : inPool(pool, error))
  }

  async function pools(): Promise<SweptPool[]> {
    if (options.pool !== undefined) return [options.pool]
    try {
      const { pools: names, invalid } = await readPoolNames(redis, poolsKey(prefix))
      if (invalid.length > invalidNames) options.onError(invalidNamesError(invalid))
      invalidNames = invalid.length
      return names.filter((name) => !skipped.has(name)).map(open)
    } catch (error) {
      reportFault(error)
      return []
    }
  }

  async function sweep(): Promise<void> {
    for (; !stopping.signal.aborted; sweeps += 1) {
      for (const pool of await pools())
        await sweepPool(pool).catch((error: unknown) => reportFault(error, pool.keys.pool))
      await sleep(options.beatMs ?? 700, undefined, { signal: stopping.signal }).catch(() => undefined)
    }
    await Promise.all([...opened.values()].map(({ queue }) => queue.close()))
  }

  const sweeping = sweep()
  return {
    stop() {
      stopping.abort()
      return sweeping
    },
  }
}

/** Somebody has written what is no config, and the pool is still there. */
function isUnreadable(error: unknown): boolean {
  if (error instanceof PoolError) return error.kind === 'CONFIG' || error.kind === 'INVALID_PARAMS'
  return error instanceof Error && error.message.startsWith('WRONGTYPE')
}

/** An error that names its pool; ours do. */
function inPool(pool: string, error: unknown): Error {
  if (error instanceof PoolError) return error
  const cause = bareCause(error)
  return new Error(`pool ${pool}: ${cause.message}`, { cause })
}

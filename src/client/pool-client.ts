import { setMaxListeners } from 'node:events'
import { startSweeper } from '../attempt/sweeper.ts'
import type { Sweeper } from '../attempt/sweeper.ts'
import { parseOrThrow } from '../contract/format-issues.ts'
import { PoolError } from '../contract/error.ts'
import type { JobEvent } from '../contract/event.ts'
import { poolIdSchema } from '../contract/ids.ts'
import type { JobInput } from '../contract/job.ts'
import type { JobState } from '../contract/job-state.ts'
import { DEFAULT_PREFIX, poolKeys } from '../contract/keys.ts'
import type { PoolConfig } from '../contract/pool-config.ts'
import type { ReplicaEntry } from '../contract/replica-entry.ts'
import { START, parseCursor } from '../contract/stream-id.ts'
import { changePoolConfig, ensurePool, readPoolConfig } from '../pool/config-store.ts'
import type { PoolConfigChange } from '../pool/config-store.ts'
import { unlessAborted } from '../runtime/unless-aborted.ts'
import { openJobQueue } from '../queue/job-queue.ts'
import type { WaitingCounts } from '../queue/job-queue.ts'
import { connectRedis, disconnectRedis, isConnectionError, isRefusal, redactUrl } from '../redis/connect.ts'
import { listReplicas } from '../replica/registry.ts'
import { createEventLog } from '../stream/event-log.ts'
import { readEvents } from '../stream/reader.ts'
import type { Restart } from '../stream/reader.ts'
import { cancelJob } from '../stream/seal.ts'
import type { CancelOutcome } from '../stream/seal.ts'
import { createAdmissionBound } from './admission-bound.ts'
import { enqueueJob } from './enqueue.ts'
import type { Admission } from './enqueue.ts'
import { readJobState } from './job-state.ts'
import { resultOf, textOf } from './text.ts'
import type { JobResult } from './text.ts'

/** Which pool, and where. */
export interface PoolClientOptions {
  /** e.g. `redis://127.0.0.1:6379` */
  readonly redisUrl: string
  readonly pool: string
  /** @defaultValue `tgi-pool` */
  readonly prefix?: string | undefined
}

/** Where to begin to read, and when to stop. */
export interface EventsOptions {
  /** The id of the last event that was seen; what follows it comes. @defaultValue from the first event */
  readonly after?: string | undefined
  readonly signal?: AbortSignal | undefined
}

/**
 * A producer's, a consumer's and an operator's hold on one pool. Every method may throw a {@link PoolError} of kind
 * `REDIS_UNAVAILABLE`.
 */
export interface PoolClient {
  readonly pool: string
  /**
   * Accepts a job; from then on it will reach its terminal event.
   *
   * @param options.jobId the idempotency key; made when absent.
   * @throws {@link PoolError} `INVALID_PARAMS`, `ID_CONFLICT`, `POOL_UNAVAILABLE`, `ADMISSION_REJECT`.
   */
  enqueue(job: JobInput, options?: { readonly jobId?: string | undefined }): Promise<Admission>
  /**
   * A job's events from any cursor to the terminal one, live. `restart` means: drop what was read, it begins again
   * (Redis lost events in a failover).
   *
   * @throws {@link PoolError} `UNKNOWN_JOB`, `GONE`, `INVALID_PARAMS` for a cursor that is none; the signal's reason.
   */
  events(jobId: string, options?: EventsOptions): AsyncGenerator<JobEvent | Restart, void, undefined>
  /** A job's text as it comes. @throws {@link PoolError} the code of the job's `error` event. */
  text(
    jobId: string,
    options?: { readonly signal?: AbortSignal | undefined },
  ): AsyncGenerator<string, unknown, undefined>
  /** A job's answer. @throws {@link PoolError} the code of the job's `error` event. */
  result(jobId: string, options?: { readonly signal?: AbortSignal | undefined }): Promise<JobResult>
  /** Ends a job, whatever it is doing. No token is appended after this returns. @throws `UNKNOWN_JOB`. */
  cancel(jobId: string, options?: { readonly reason?: string | undefined }): Promise<CancelOutcome>
  /** Where a job stands. @throws `UNKNOWN_JOB`. */
  job(jobId: string): Promise<JobState>
  /** The pool's config. @throws `POOL_UNAVAILABLE`. */
  config(): Promise<PoolConfig>
  /** Makes the pool unless it is there; what is set already stays. */
  create(change?: PoolConfigChange): Promise<PoolConfig>
  /** Changes the pool's config. @throws `POOL_UNAVAILABLE`. */
  set(change: PoolConfigChange): Promise<PoolConfig>
  /** The pool's replicas, by id. @throws `POOL_UNAVAILABLE`. */
  replicas(): Promise<ReplicaEntry[]>
  /** How many jobs wait. */
  waiting(): Promise<WaitingCounts>
  /** Ends every read and closes the connections. Idempotent. */
  close(): Promise<void>
}

/**
 * Connects to a pool.
 *
 * @throws {@link PoolError} `REDIS_UNAVAILABLE`, `CONFIG` for a bad address, `INVALID_PARAMS` for a bad pool name.
 */
export async function openPool(options: PoolClientOptions): Promise<PoolClient> {
  const keys = poolKeys(parseOrThrow(poolIdSchema, options.pool, 'pool'), options.prefix ?? DEFAULT_PREFIX)
  const redis = await connectRedis(options.redisUrl, { role: 'commands' })
  const log = createEventLog(redis, keys)
  const queue = openJobQueue(redis, keys)
  const bound = createAdmissionBound()
  const reads = new Set<AbortController>()
  let sweeper: Sweeper | undefined
  let closed: PoolError | undefined

  /** Gives faults of the line their name. */
  async function told<T>(work: Promise<T>): Promise<T> {
    return work.catch((error: unknown) => {
      const where = redactUrl(options.redisUrl)
      if (isConnectionError(error)) {
        throw new PoolError('REDIS_UNAVAILABLE', `Redis at ${where} went away`, { cause: error })
      }
      if (isRefusal(error)) {
        const code = error instanceof Error ? error.message.split(' ')[0] : ''
        throw new PoolError('REDIS_UNAVAILABLE', `Redis at ${where} refuses for now (${code})`, {
          cause: error,
        })
      }
      throw error
    })
  }

  async function* events(
    jobId: string,
    read: EventsOptions = {},
  ): AsyncGenerator<JobEvent | Restart, void, undefined> {
    const after = read.after === undefined ? START : parseCursor(read.after)
    if (after === undefined) {
      const got = JSON.stringify(read.after)
      throw new PoolError(
        'INVALID_PARAMS',
        `cursor: expected an event's id such as 1763812345678-2, got ${got}`,
      )
    }
    const stop = new AbortController()
    const onAbort = () => stop.abort(read.signal?.reason)
    if (read.signal !== undefined) {
      // One signal may end any number of reads.
      setMaxListeners(0, read.signal)
      read.signal.addEventListener('abort', onAbort, { once: true })
      if (read.signal.aborted) onAbort()
    }
    beginRead(stop)
    try {
      await unlessAborted(told(readPoolConfig(redis, keys)), stop.signal)
      const connection = await connectRedis(options.redisUrl, { role: 'blocking' })
      try {
        yield* readEvents({
          redis: connection,
          keys,
          jobId,
          after,
          signal: stop.signal,
          queueHolds: (id) => queue.holds(id),
        })
      } finally {
        disconnectRedis(connection)
      }
    } finally {
      read.signal?.removeEventListener('abort', onAbort)
      endRead(stop)
    }
  }

  /** Whoever waits for a job also sees to it that its deadline is kept, though no worker may run. */
  function beginRead(stop: AbortController): void {
    if (closed !== undefined) throw closed
    reads.add(stop)
    sweeper ??= startSweeper({
      redis,
      prefix: options.prefix ?? DEFAULT_PREFIX,
      pool: keys.pool,
      onError: () => undefined,
    })
  }

  function endRead(stop: AbortController): void {
    reads.delete(stop)
    if (reads.size > 0) return
    sweeper?.stop().catch(() => undefined)
    sweeper = undefined
  }

  return {
    pool: keys.pool,
    enqueue: (job, { jobId } = {}) => told(enqueueJob({ redis, keys, log, queue, bound }, job, jobId)),
    events,
    text: (jobId, read) => textOf(events(jobId, read)),
    result: (jobId, read) => resultOf(events(jobId, read)),
    async cancel(jobId, { reason } = {}) {
      const { retention_ms: retentionMs } = await told(readPoolConfig(redis, keys))
      return told(cancelJob({ log, queue, pool: keys.pool, jobId, reason, retentionMs }))
    },
    job: (jobId) => told(readPoolConfig(redis, keys).then(() => readJobState(log, queue, keys, jobId))),
    config: () => told(readPoolConfig(redis, keys)),
    create: (change) => told(ensurePool(redis, keys, change)),
    set: (change) => told(changePoolConfig(redis, keys, change)),
    replicas: () => told(readPoolConfig(redis, keys).then(() => listReplicas(redis, keys))),
    waiting: () => told(queue.waiting()),
    async close() {
      closed ??= new PoolError('REDIS_UNAVAILABLE', 'the pool client was closed')
      for (const stop of reads) stop.abort(closed)
      await sweeper?.stop()
      await queue.close()
      disconnectRedis(redis)
    },
  }
}

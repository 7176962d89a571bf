import { setMaxListeners } from 'node:events'
import { readEnd } from '../attempt/job-end.ts'
import type { JobEndListener } from '../attempt/job-end.ts'
import { startSweeper } from '../attempt/sweeper.ts'
import type { Sweeper } from '../attempt/sweeper.ts'
import { PoolError } from '../contract/error.ts'
import type { JobEvent } from '../contract/event.ts'
import type { JobInput } from '../contract/job.ts'
import type { JobState } from '../contract/job-state.ts'
import type { PoolKeys } from '../contract/keys.ts'
import type { PoolConfig } from '../contract/pool-config.ts'
import type { ReplicaEntry } from '../contract/replica-entry.ts'
import { START, parseCursor } from '../contract/stream-id.ts'
import type { Cursor } from '../contract/stream-id.ts'
import { changePoolConfig, ensurePool, readPoolConfig } from '../pool/config-store.ts'
import type { PoolConfigChange } from '../pool/config-store.ts'
import { openJobQueue } from '../queue/job-queue.ts'
import { fillQueueMeta } from '../queue/queue-meta.ts'
import type { WaitingCounts } from '../queue/queue-depth.ts'
import type { RedisConnection } from '../redis/connect.ts'
import { listReplicas } from '../replica/registry.ts'
import { unlessAborted } from '../runtime/unless-aborted.ts'
import type { LogEntry } from '../stream/entry.ts'
import { createEventLog } from '../stream/event-log.ts'
import type { Hub } from '../stream/hub.ts'
import { readEvents } from '../stream/reader.ts'
import type { Restart } from '../stream/reader.ts'
import { cancelJob } from '../stream/seal.ts'
import type { CancelOutcome } from '../stream/seal.ts'
import { createAdmissionBound } from './admission-bound.ts'
import { deletePool, forgetDeletion } from './delete-pool.ts'
import type { PoolContents } from './delete-pool.ts'
import { drainReplica, undrainReplica } from './drain.ts'
import type { DrainOutcome, UndrainOutcome } from './drain.ts'
import { enqueueJob } from './enqueue.ts'
import type { Admission } from './enqueue.ts'
import { forgetJob } from './forget.ts'
import type { MemoryWatch } from './memory-watch.ts'
import { listJobs } from './job-list.ts'
import type { JobListOptions, JobPage } from './job-list.ts'
import { readJobState } from './job-state.ts'
import { leavable } from './leavable.ts'
import { createStartForecast } from './start-forecast.ts'
import { resultOf, textOf } from './text.ts'
import type { JobResult } from './text.ts'

/** Options of every call. */
export interface CallOptions {
  /**
   * Ends the wait: the call rejects with the signal's reason. A command already sent to Redis may still take effect.
   *
   * @defaultValue only the call's own timeouts end it
   */
  readonly signal?: AbortSignal | undefined
}

/** Where to start reading, and when to stop. */
export interface EventsOptions extends CallOptions {
  /** The id of the last event that was read; reading resumes after it. @defaultValue from the first event */
  readonly after?: string | undefined
}

/** Options of an enqueue. */
export interface EnqueueOptions extends CallOptions {
  /**
   * The idempotency key: the same id with the same body is the same job; with a different body it is an `ID_CONFLICT`. 1 to 128
   * characters of `A-Z a-z 0-9 . _ -`, a letter or digit first, not only digits and no name that BullMQ uses (`wait`, `meta`, …).
   *
   * @defaultValue a new id of 122 random bits
   */
  readonly jobId?: string | undefined
  /**
   * The job's `correlation_id` if its body has none: 1 to 64 characters of `A-Z a-z 0-9 . _ -`. It is not part of the body: the same
   * body with a different one is the same job.
   *
   * @defaultValue none
   */
  readonly correlationId?: string | undefined
}

/** Options of a cancel. */
export interface CancelOptions extends CallOptions {
  /**
   * Included in the job's `error` event, as one line of at most 200 characters; the rest is cut.
   *
   * @defaultValue none
   */
  readonly reason?: string | undefined
}

/** Options of a drain. */
export interface DrainOptions extends CallOptions {
  /**
   * Grace period for running attempts (whole ms, 0 to 2,147,483,647); the rest are handed to other replicas.
   *
   * @defaultValue the worker's own grace period on shutdown
   */
  readonly graceMs?: number | undefined
}

/** Options of deleting a pool. */
export interface DeletePoolOptions extends CallOptions {
  /** Delete the pool even if workers hold leases on its replicas: they stop first. @defaultValue false */
  readonly force?: boolean | undefined
  /** Called with what is about to be lost, before anything changes. If it throws, nothing is deleted. */
  readonly confirm?: ((contents: PoolContents) => void | Promise<void>) | undefined
}

/**
 * A client of one pool for producers, consumers and operators. Every method may throw a {@link PoolError} of kind
 * `REDIS_UNAVAILABLE`, and its signal's reason.
 */
export interface PoolClient {
  /** The pool's name. */
  readonly pool: string
  /**
   * Enqueues a job. Once this resolves, the job will reach its terminal event.
   *
   * @throws {@link PoolError} `INVALID_PARAMS`, `ID_CONFLICT`, `POOL_UNAVAILABLE`, `ADMISSION_REJECT`, `DEADLINE_UNMET`.
   */
  enqueue(job: JobInput, options?: EnqueueOptions): Promise<Admission>
  /**
   * A job's events from any cursor to the terminal one, live. Any number of reads share a few connections; one that is
   * slow is served from the log when it catches up, so it blocks no other reader and holds no memory. `restart` means:
   * drop what you have read, the events start again (Redis lost events in a failover).
   *
   * @throws {@link PoolError} `UNKNOWN_JOB`, `GONE`, `INVALID_PARAMS` for an invalid cursor; the signal's reason.
   */
  events(jobId: string, options?: EventsOptions): AsyncGenerator<JobEvent | Restart, void, undefined>
  /**
   * A job's text as it comes, without special tokens; ends with the answer. Leaving the loop does not cancel the job.
   *
   * @throws {@link PoolError} as {@link PoolClient.events}; the code of the job's `error` event; `REPLAY_DIVERGED` if Redis lost tokens
   * that were yielded and the new ones differ.
   */
  text(jobId: string, options?: CallOptions): AsyncGenerator<string, unknown, undefined>
  /**
   * Waits for a job's whole answer, at most until its deadline.
   *
   * @throws {@link PoolError} as {@link PoolClient.events}; the code of the job's `error` event (then `ofJob` is true).
   */
  result(jobId: string, options?: CallOptions): Promise<JobResult>
  /**
   * Cancels a job, waiting or running. No token is appended after this returns.
   *
   * @throws {@link PoolError} `UNKNOWN_JOB`, `POOL_UNAVAILABLE`.
   */
  cancel(jobId: string, options?: CancelOptions): Promise<CancelOutcome>
  /**
   * Erases a job: its prompt, its events, its place in the queue. One that is not over is cancelled first.
   *
   * @throws {@link PoolError} `UNKNOWN_JOB`; `POOL_UNREADY` if its worker does not release it in time: retry later.
   */
  forget(jobId: string, options?: CallOptions): Promise<void>
  /** Whether the pool knows the job: by its events, or by its place in the queue. */
  has(jobId: string, options?: CallOptions): Promise<boolean>
  /** The state of a job. @throws {@link PoolError} `UNKNOWN_JOB`, `POOL_UNAVAILABLE`. */
  job(jobId: string, options?: CallOptions): Promise<JobState>
  /**
   * The pool's jobs, most recent state change first. Finished jobs are listed until their events expire. A job
   * that does not change its state is on exactly one page.
   *
   * @throws {@link PoolError} `INVALID_PARAMS`, `POOL_UNAVAILABLE`.
   */
  jobs(options?: JobListOptions): Promise<JobPage>
  /** The pool's settings, defaults filled in. @throws {@link PoolError} `POOL_UNAVAILABLE`. */
  config(options?: CallOptions): Promise<PoolConfig>
  /**
   * Creates the pool unless it exists; existing settings stay.
   *
   * @throws {@link PoolError} `INVALID_PARAMS` for an invalid setting; `POOL_UNAVAILABLE` if the Redis user may not create pools.
   */
  create(change?: PoolConfigChange, options?: CallOptions): Promise<PoolConfig>
  /**
   * Changes settings of the pool. Jobs that are already accepted keep what they were accepted with.
   *
   * @throws {@link PoolError} `INVALID_PARAMS` for an invalid setting, `POOL_UNAVAILABLE`.
   */
  set(change: PoolConfigChange, options?: CallOptions): Promise<PoolConfig>
  /**
   * Deletes the pool: cancels unfinished jobs, then removes every key of the pool. If it is interrupted, the pool stays closed,
   * and the next call resumes. For a day, workers of the pool do not start until {@link PoolClient.create} makes a new one.
   *
   * @throws {@link PoolError} `POOL_UNAVAILABLE`; `POOL_IN_USE` if a worker holds a lease and `force` is not set, or does not stop.
   */
  delete(options?: DeletePoolOptions): Promise<void>
  /** The pool's replicas, by id. @throws {@link PoolError} `POOL_UNAVAILABLE`. */
  replicas(options?: CallOptions): Promise<ReplicaEntry[]>
  /**
   * Stops a replica from taking jobs until it is undrained; survives worker restarts. Returns at once; `replicas` shows when
   * nothing runs on the replica. Draining a replica again only changes the grace period, if one is given.
   *
   * @throws {@link PoolError} `UNKNOWN_REPLICA`, `POOL_UNAVAILABLE`, `INVALID_PARAMS` for an invalid grace period.
   */
  drain(replicaId: string, options?: DrainOptions): Promise<DrainOutcome>
  /** Lets a replica take jobs again. @throws {@link PoolError} `UNKNOWN_REPLICA`, `POOL_UNAVAILABLE`. */
  undrain(replicaId: string, options?: CallOptions): Promise<UndrainOutcome>
  /** How many jobs wait. */
  waiting(options?: CallOptions): Promise<WaitingCounts>
  /** Ends every read of this client and closes its own connections. Idempotent. */
  close(): Promise<void>
}

/** What the clients of several pools share. */
export interface ClientPorts {
  readonly redis: RedisConnection
  readonly hub: Hub
  readonly prefix: string
  /** The memory of the server that has a pool. */
  readonly memoryOf: (keys: PoolKeys) => MemoryWatch
  /** Adds the address to errors of the connection. */
  readonly withAddress: <T>(work: Promise<T>) => Promise<T>
  readonly onJobEnd?: JobEndListener | undefined
}

/** A client of one pool on connections that are shared. */
export function createPoolClient(ports: ClientPorts, keys: PoolKeys): PoolClient {
  const { redis, withAddress, hub } = ports
  const log = createEventLog(redis, keys)
  const queue = openJobQueue(redis, keys)
  const bound = createAdmissionBound()
  const memory = ports.memoryOf(keys)
  const forecast = createStartForecast(() => listReplicas(redis, keys))
  const reads = new Set<AbortController>()
  let sweeper: Sweeper | undefined
  let closed: PoolError | undefined

  async function reportEnd(jobId: string, seal: LogEntry): Promise<void> {
    if (ports.onJobEnd !== undefined) ports.onJobEnd(await readEnd(log, keys.pool, jobId, seal))
  }

  /** A failing listener must not fail the cancel, because the job has ended. */
  const onSealed = (jobId: string) => (seal: LogEntry) => void reportEnd(jobId, seal)

  async function call<T>(options: CallOptions | undefined, work: () => Promise<T>): Promise<T> {
    options?.signal?.throwIfAborted()
    return unlessAborted(withAddress(work()), options?.signal)
  }

  /** A missing pool is reported as such, not as a missing job. */
  async function inPool<T>(
    options: CallOptions | undefined,
    work: (config: PoolConfig) => Promise<T>,
  ): Promise<T> {
    return call(options, async () => work(await readPoolConfig(redis, keys)))
  }

  function events(
    jobId: string,
    read: EventsOptions = {},
  ): AsyncGenerator<JobEvent | Restart, void, undefined> {
    const stop = new AbortController()
    return leavable(readUntil(stop, jobId, read), () => stop.abort())
  }

  async function* readUntil(
    stop: AbortController,
    jobId: string,
    read: EventsOptions,
  ): AsyncGenerator<JobEvent | Restart, void, undefined> {
    const after = cursorOf(read.after)
    const onAbort = () => stop.abort(read.signal?.reason)
    if (read.signal !== undefined) {
      // One signal may end any number of reads.
      setMaxListeners(0, read.signal)
      read.signal.addEventListener('abort', onAbort, { once: true })
      if (read.signal.aborted) onAbort()
    }
    beginRead(stop)
    try {
      const { signal } = stop
      yield* readEvents({ hub, keys, jobId, after, signal, queueHolds: (id) => queue.holds(id) })
    } catch (error) {
      // Where there is no such pool that is the thing to say; asked only now, since a read begins with one command so.
      if (error instanceof PoolError && error.kind === 'UNKNOWN_JOB')
        await withAddress(readPoolConfig(redis, keys))
      throw error
    } finally {
      read.signal?.removeEventListener('abort', onAbort)
      reads.delete(stop)
    }
  }

  /** Whoever has waited for a job also sees to it that deadlines are kept, though no worker may run. */
  function beginRead(stop: AbortController): void {
    if (closed !== undefined) throw closed
    reads.add(stop)
    sweeper ??= startSweeper({
      redis,
      prefix: ports.prefix,
      pool: { keys, log, queue },
      onJobEnd: ports.onJobEnd,
      onError: () => undefined,
    })
  }

  return {
    pool: keys.pool,
    enqueue: (job, options) =>
      call(options, () => enqueueJob({ redis, keys, log, queue, bound, memory, forecast }, job, options)),
    events,
    text: (jobId, read) => textOf(events(jobId, read)),
    result: (jobId, read) => resultOf(events(jobId, read)),
    cancel: (jobId, options) =>
      inPool(options, ({ retention_ms: retentionMs }) =>
        cancelJob({
          log,
          queue,
          pool: keys.pool,
          jobId,
          reason: options?.reason,
          retentionMs,
          onSealed: onSealed(jobId),
        }),
      ),
    forget: (jobId, options) =>
      inPool(options, ({ retention_ms: retentionMs }) =>
        forgetJob({ redis, keys, log, queue, jobId, retentionMs, onSealed: onSealed(jobId) }),
      ),
    has: (jobId, options) =>
      call(options, async () => (await redis.exists(keys.events(jobId))) === 1 || queue.holds(jobId)),
    job: (jobId, options) => inPool(options, () => readJobState(log, queue, keys, jobId)),
    jobs: (options) => inPool(options, () => listJobs(redis, keys, options)),
    config: (options) => inPool(options, async (config) => config),
    create: (change, options) =>
      call(options, async () => {
        await forgetDeletion(redis, keys)
        const config = await ensurePool(redis, keys, change)
        await fillQueueMeta(redis, keys)
        return config
      }),
    set: (change, options) => call(options, () => changePoolConfig(redis, keys, change)),
    delete: ({ force = false, confirm, ...options } = {}) =>
      call(options, () => deletePool({ redis, keys, log, force, confirm, onSealed: reportEnd })),
    replicas: (options) => inPool(options, () => listReplicas(redis, keys)),
    drain: (replicaId, options) =>
      inPool(options, () => drainReplica(redis, keys, replicaId, options?.graceMs)),
    undrain: (replicaId, options) => inPool(options, () => undrainReplica(redis, keys, replicaId)),
    waiting: (options) => call(options, () => queue.waiting()),
    async close() {
      closed ??= new PoolError('REDIS_UNAVAILABLE', 'the pool client was closed')
      for (const stop of reads) stop.abort(closed)
      await sweeper?.stop()
      await queue.close()
    },
  }
}

function cursorOf(text: string | undefined): Cursor {
  const cursor = text === undefined ? START : parseCursor(text)
  if (cursor !== undefined) return cursor
  throw new PoolError(
    'INVALID_PARAMS',
    `cursor: expected an event's id such as 1763812345678901-2, got ${JSON.stringify(text?.slice(0, 64))}`,
  )
}

import { Worker, createRedisBackend } from 'bullmq'
import type { Job } from 'bullmq'
import type { Redis } from 'ioredis'
import type { Priority } from '../contract/job.ts'
import { QUEUE_NAMES } from '../contract/keys.ts'
import type { PoolKeys } from '../contract/keys.ts'
import { AT_LIMIT } from '../redis/at-limit.ts'
import { runAtLimit } from './run-at-limit.ts'
import { removeByHand, repairTaken } from './queue-repair.ts'
import { tame } from './raw-job.ts'
import type { RawJob } from './raw-job.ts'

/** What a lane needs. */
export interface LaneOptions {
  readonly connection: Redis
  readonly keys: PoolKeys
  readonly kind: Priority
  readonly lockMs: number
  readonly stalledIntervalMs: number
  readonly onError: (error: unknown) => void
}

/** A job that a lane has taken. */
export interface QueuedJob {
  /** BullMQ's handle to move it, with an empty body. */
  readonly job: Job
  readonly raw: RawJob
}

/**
 * One of a pool's two queues, as a worker sees it. BullMQ's `Worker` is used by hand
 * (https://docs.bullmq.io/patterns/manually-fetching-jobs): its own loop takes jobs without asking which other queue has some.
 */
export interface Lane {
  readonly kind: Priority
  /** The key on which a wait for jobs ends (BZPOPMIN). */
  readonly marker: string
  /** Takes and locks the next job, if there is one. Nothing that a producer wrote is parsed yet. */
  take(token: string): Promise<QueuedJob | undefined>
  /** Takes a job that is over out of the queue where BullMQ cannot. */
  discard(jobId: string): Promise<void>
  /** Renews locks; returns the ids of jobs whose lock is lost. */
  renew(jobs: readonly { readonly id: string; readonly token: string }[]): Promise<string[]>
  /** When the next delayed job is due (ms since 1970, by the clock of the process that delayed it). */
  nextDue(): Promise<number | undefined>
  /** Wakes a worker that waits for a job. */
  wake(): Promise<void>
  /** Starts looking for jobs of dead workers. Idempotent. */
  watchStalled(): void
  /** Ends that. */
  close(): Promise<void>
  /** Lets go without Redis, after {@link close} did not end. */
  abandon(): void
}

/** BullMQ never gives a job up: we count its dead workers against `max_attempts` (attempt/policy.ts). */
const MAX_STALLED = 2 ** 31 - 1
/** BullMQ sorts delayed jobs by their time × this, plus a counter (commands/includes/getDelayedScore.lua). */
const DELAYED_SCORE = 0x1000

/** KEYS[1] the marker. */
const WAKE = `${AT_LIMIT}redis.call('ZADD', KEYS[1], 0, '0')`

/** Opens a lane on a connection, which stays the caller's. */
export function openLane({ connection, keys, kind, ...options }: LaneOptions): Lane {
  const name = QUEUE_NAMES[kind]
  const { lockMs } = options
  const key = (type: string) => `${keys.queuePrefix}:${name}:${type}`
  runAtLimit(connection)
  let taken: RawJob | undefined
  const worker = new Worker(
    name,
    null,
    {
      connection,
      prefix: keys.queuePrefix,
      autorun: false,
      lockDuration: lockMs,
      skipLockRenewal: true,
      stalledInterval: options.stalledIntervalMs,
      maxStalledCount: MAX_STALLED,
      removeOnComplete: { count: 0 },
      removeOnFail: { count: 0 },
    },
    (queue, settings) => {
      // BullMQ's own loop would need a second connection to block on.
      const backend = createRedisBackend(queue, settings)
      const run = backend.execCommand.bind(backend)
      backend.execCommand = (client, command, args) => {
        const answer: unknown = run(client, command, args)
        return command === 'moveToActive' ? tamed(answer) : answer
      }
      return backend
    },
  )

  /** What BullMQ may see of the job that was taken. */
  async function tamed(answering: unknown): Promise<unknown> {
    const answer = await answering
    const job = tame(answer)
    taken = job?.raw
    return job?.reply ?? answer
  }
  worker.on('error', options.onError)
  let watching = false
  return {
    kind,
    marker: key('marker'),
    async take(token) {
      try {
        const job = await worker.getNextJob(token, { block: false })
        const raw = taken
        taken = undefined
        return job instanceof Object && raw !== undefined ? { job, raw } : undefined
      } catch (error) {
        await repairTaken(connection, keys, name, error)
        throw error
      }
    },
    discard: (jobId) => removeByHand(connection, keys, name, jobId),
    renew: (jobs) =>
      worker.extendJobLocks(
        jobs.map(({ id }) => id),
        jobs.map(({ token }) => token),
        lockMs,
      ),
    async nextDue() {
      const [, score] = await connection.zrange(key('delayed'), '0', '0', 'WITHSCORES')
      return score === undefined ? undefined : Number(score) / DELAYED_SCORE
    },
    async wake() {
      await connection.eval(WAKE, 1, key('marker'))
    },
    watchStalled() {
      if (watching) return
      watching = true
      worker.startStalledCheckTimer().catch(options.onError)
    },
    close: () => worker.close(),
    abandon() {
      // Disconnecting alone leaves BullMQ's retries and its check for stalled jobs running for ever: only `close` ends those.
      worker.close(true).catch(() => undefined)
      worker.disconnect().catch(() => undefined)
    },
  }
}

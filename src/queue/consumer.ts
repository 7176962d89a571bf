/**
 * Takes jobs from a pool's queue, at most one a slot, and keeps their locks.
 *
 * The locks are renewed here and not by BullMQ, because BullMQ never tells when it could not: a line that hangs is
 * silence, and the same job then runs twice. So every lock is trusted for {@link TRUST} of its time, counted from
 * before the command that took or renewed it was sent; after that the attempt is interrupted, well before another
 * worker can have the job.
 */
import { DelayedError, WaitingError, Worker } from 'bullmq'
import type { Job } from 'bullmq'
import type { Redis } from 'ioredis'
import { PRIORITIES } from '../contract/job.ts'
import { QUEUE_NAME } from '../contract/keys.ts'
import type { PoolKeys } from '../contract/keys.ts'

/** The part of a lock's time in which it is trusted. */
const TRUST = 0.9

/** A job that was taken from the queue. */
export interface TakenJob {
  readonly id: string
  /** What the producer wrote; nobody has checked it. */
  readonly body: unknown
  /** How often the job was handed back unharmed. */
  readonly handBacks: number
  /** Marks that it shares with jobs that failed together with it. */
  readonly failedWith: readonly string[]
  /** When it was put in the queue, by its producer's clock (ms since 1970). */
  readonly queuedAtMs: number
  /** It was put in the queue a moment ago and nobody has taken it before, as far as the queue knows. */
  readonly isNew: boolean
  /** Aborted when the lock can no longer be trusted. */
  readonly lockLost: AbortSignal
  /** Asks Redis whether the lock is ours still, and renews it. Throws when Redis does not answer. */
  confirmLock(): Promise<boolean>
}

/**
 * What an attempt cost its job. `not_begun`: nothing, it wrote no `started`. `unharmed`: nothing, though it wrote one.
 * `spent`: one of the attempts that the job may make.
 */
export type AttemptCost = 'not_begun' | 'unharmed' | 'spent'

/**
 * What became of a taken job. `over`: leave the queue. `back`: it waits again, after a delay; one that is `unharmed` goes
 * ahead of the waiting jobs of its priority, one whose attempt is `spent` behind them. `refused`: no slot was open, back to
 * the head of the queue.
 */
export type Disposition =
  | { readonly kind: 'over' }
  | {
      readonly kind: 'back'
      readonly delayMs: number
      readonly attempt: AttemptCost
      /** What {@link TakenJob.failedWith} gets beside what it has. */
      readonly failedWith?: string | undefined
    }
  | { readonly kind: 'refused' }

/** How to consume. */
export interface ConsumerOptions {
  /** A connection of this consumer's own, made for BullMQ; closed by the caller after {@link Consumer.close}. */
  readonly connection: Redis
  readonly keys: PoolKeys
  readonly slots: number
  /** How long a lock lasts unrenewed (ms). */
  readonly lockMs: number
  /** How often jobs of dead workers are looked for (ms). */
  readonly stalledIntervalMs: number
  /** Runs one job to its disposition. Never rejects. */
  readonly run: (job: TakenJob) => Promise<Disposition>
  /** BullMQ gave a job up because its workers died too often; it never reaches `run` again. */
  readonly onGivenUp: (jobId: string) => void
  readonly onError: (error: unknown) => void
}

/** A running consumer. */
export interface Consumer {
  /** Takes jobs again. */
  open(): void
  /** Changes how many jobs may run at once; running ones are not touched. */
  resize(slots: number): void
  /** Takes no more; a job that was being taken already may still arrive once. */
  shut(): void
  /** Shuts, and resolves when all running jobs have their disposition. Idempotent. */
  close(): Promise<void>
  /** Lets go of everything without Redis: locks run out by themselves. After {@link close} did not end. */
  abandon(): void
}

/** BullMQ gives a job up after this many dead workers; our own count of attempts comes first. */
const MAX_STALLED = 10
/** How long a job is new (ms), by its producer's clock: long enough for a queue where nothing waits. */
const NEW_MS = 1000
/** The most marks that a job keeps; the oldest go first. */
const MAX_MARKS = 8

interface Held {
  readonly id: string
  readonly token: string
  readonly lost: AbortController
  /** When trust ends (performance.now()). */
  until: number
}

/** Starts a consumer, shut. */
export function startConsumer(options: ConsumerOptions): Consumer {
  const { lockMs } = options
  // By lock and not by job: a job that came back while its older attempt still ends is held twice.
  const held = new Set<Held>()
  const trustMs = lockMs * TRUST
  const markerKey = `${options.keys.queuePrefix}:${QUEUE_NAME}:marker`

  const worker = new Worker(QUEUE_NAME, (job, token) => process(job, token ?? ''), {
    connection: options.connection,
    prefix: options.keys.queuePrefix,
    autorun: false,
    concurrency: options.slots,
    lockDuration: lockMs,
    skipLockRenewal: true,
    stalledInterval: options.stalledIntervalMs,
    maxStalledCount: MAX_STALLED,
    runRetryDelay: 500,
    // Seconds. A worker that froze in its wait takes one wake-up with it; the next one looks by itself.
    drainDelay: 1,
    removeOnComplete: { count: 0 },
    removeOnFail: { count: 0 },
  })
  worker.on('error', onLostLock)
  // A job that failed in BullMQ's own hands; ours never do: `run` always ends in a disposition.
  worker.on('failed', (job) => {
    if (job?.id !== undefined) options.onGivenUp(job.id)
  })

  /** Renews locks; answers those that are not ours any more. */
  async function renew(jobs: readonly Held[]): Promise<Held[]> {
    const from = performance.now()
    const failed = new Set(
      await worker.extendJobLocks(
        jobs.map((job) => job.id),
        jobs.map((job) => job.token),
        lockMs,
      ),
    )
    for (const job of jobs) if (!failed.has(job.id)) job.until = from + trustMs
    return jobs.filter((job) => failed.has(job.id))
  }

  function beat(): void {
    const now = performance.now()
    for (const job of held) if (now >= job.until) job.lost.abort(new Error('the lock on the job ran out'))
    const jobs = [...held].filter((job) => !job.lost.signal.aborted)
    if (jobs.length === 0) return
    renew(jobs).then(
      (failed) => {
        for (const job of failed) job.lost.abort(new Error('another worker has the lock on the job'))
      },
      (error: unknown) => options.onError(error),
    )
  }

  /** BullMQ refuses to move a job whose lock is not ours any more: then it is where it belongs. */
  function onLostLock(error: unknown): void {
    if (!(error instanceof Error) || !error.message.startsWith('Missing lock')) options.onError(error)
  }

  /**
   * Back to the head of the queue, and a wake-up for whoever waits for a job: BullMQ 6.7 makes none there
   * (moveJobFromActiveToWait-9.lua), and others would look a second later. One that has just been shut may get it, takes
   * the job and puts it back again, which it does once; a job that is delayed by nothing would be left where it is.
   */
  async function putBack(job: Job, lockToken: string): Promise<void> {
    await job.moveToWait(lockToken).catch(onLostLock)
    await wake()
  }

  /** Has somebody who waits for a job look for one. */
  async function wake(): Promise<void> {
    await options.connection.zadd(markerKey, 0, '0').catch(options.onError)
  }

  async function process(job: Job, lockToken: string): Promise<void> {
    const id = job.id ?? ''
    // BullMQ sends its own clock's time with the pick-up, so that is when the lock's time began.
    const age = Math.max(0, Date.now() - (job.processedOn ?? Date.now()))
    const mine: Held = {
      id,
      token: lockToken,
      lost: new AbortController(),
      until: performance.now() - age + trustMs,
    }
    held.add(mine)
    const memory = memoryOf(job)
    try {
      const disposition = await options.run({
        id,
        body: job.data,
        ...memory,
        queuedAtMs: job.timestamp,
        isNew: job.attemptsStarted <= 1 && Math.abs(Date.now() - job.timestamp) < NEW_MS,
        lockLost: mine.lost.signal,
        confirmLock: async () => (await renew([mine])).length === 0,
      })
      if (disposition.kind === 'refused') {
        await putBack(job, lockToken)
        throw new WaitingError()
      }
      if (disposition.kind === 'back') {
        await remember(job, memory, disposition).catch(options.onError)
        await setPlace(job, disposition.attempt).catch(options.onError)
        if (disposition.delayMs === 0) {
          await putBack(job, lockToken)
          throw new WaitingError()
        }
        await job.moveToDelayed(Date.now() + disposition.delayMs, lockToken).catch(onLostLock)
        throw new DelayedError()
      }
    } finally {
      held.delete(mine)
    }
  }

  const timer = setInterval(beat, lockMs / 5)
  let closed: Promise<void> | undefined
  let running: Promise<void> | undefined
  return {
    open() {
      if (closed !== undefined) return
      if (running === undefined) running = worker.run().catch(options.onError)
      else if (worker.isPaused()) void worker.resume()
    },
    resize(slots) {
      if (worker.concurrency === slots) return
      const more = slots > worker.concurrency
      worker.concurrency = slots
      // BullMQ looks at a higher number only when a job ends; pausing and resuming wakes its loop.
      if (more && running !== undefined && !worker.isPaused())
        void worker.pause(true).then(() => worker.resume())
    },
    shut() {
      if (running !== undefined && !worker.isPaused()) void worker.pause(true)
    },
    close() {
      closed ??= (async () => {
        if (running !== undefined) await worker.pause(true)
        await worker.close()
        await running
        clearInterval(timer)
        // The last wait for a job may have ended with a wake-up that others need.
        await wake()
      })()
      return closed
    },
    abandon() {
      clearInterval(timer)
      // Nobody will tell any more when a lock runs out, and whoever waits to end a job waits until then.
      for (const job of held) job.lost.abort(new Error('the worker let go of the job'))
      worker.disconnect().catch(() => undefined)
    },
  }
}

/**
 * A job that comes back unharmed has waited its time, and its answer may be read already: it goes ahead of the jobs of its
 * priority. One whose attempt was spent may be what broke it: it goes behind them.
 */
async function setPlace(job: Job, attempt: AttemptCost): Promise<void> {
  const own: readonly number[] = Object.values(PRIORITIES)
  if (attempt === 'unharmed' && own.includes(job.priority))
    await job.changePriority({ priority: job.priority - 1 })
  if (attempt === 'spent' && own.includes(job.priority + 1))
    await job.changePriority({ priority: job.priority + 1 })
}

/** What the queue remembers of a job between its attempts, in BullMQ's `progress`. */
type Memory = Pick<TakenJob, 'handBacks' | 'failedWith'>

function memoryOf(job: Job): Memory {
  const progress: unknown = job.progress
  if (typeof progress !== 'object' || progress === null) return { handBacks: 0, failedWith: [] }
  const { hand_backs: handBacks, failed_with: failedWith } = progress as Record<string, unknown>
  return {
    handBacks: typeof handBacks === 'number' ? handBacks : 0,
    failedWith: Array.isArray(failedWith) ? failedWith.filter((mark) => typeof mark === 'string') : [],
  }
}

async function remember(
  job: Job,
  memory: Memory,
  { attempt, failedWith }: Extract<Disposition, { kind: 'back' }>,
): Promise<void> {
  if (attempt !== 'unharmed' && failedWith === undefined) return
  const marks = failedWith === undefined ? memory.failedWith : [...memory.failedWith, failedWith]
  await job.updateProgress({
    hand_backs: memory.handBacks + Number(attempt === 'unharmed'),
    failed_with: marks.slice(-MAX_MARKS),
  })
}

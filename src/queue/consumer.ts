/**
 * Takes jobs from a pool's two queues, at most one a slot (`taker.ts`), and keeps their locks (`locks.ts`).
 *
 * `locks.ts` renews the locks instead of BullMQ, which does not report a renewal that hangs: the same job would then run twice.
 * Each lock is trusted for a part of its time, counted from before the command that took or renewed it was sent. After that the
 * attempt is interrupted, well before another worker can take the job.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { UnrecoverableError } from 'bullmq'
import type { Job } from 'bullmq'
import type { Redis } from 'ioredis'
import { PRIORITIES } from '../contract/job.ts'
import type { Priority } from '../contract/job.ts'
import { QUEUE_NAMES } from '../contract/keys.ts'
import type { PoolKeys } from '../contract/keys.ts'
import { isConnectionError } from '../redis/fault.ts'
import { bodyIn } from './job-body.ts'
import { openHeldBytes } from './held-bytes.ts'
import { openLane } from './lane.ts'
import type { Lane } from './lane.ts'
import { keepLocks } from './locks.ts'
import { createTaker } from './taker.ts'

/** A job that was taken from the queue. */
export interface TakenJob {
  readonly id: string
  /** What the producer wrote; nobody has checked it. */
  readonly body: unknown
  /** How often the job was handed back unharmed. */
  readonly handBacks: number
  /** Marks of the engine failures that it was part of; jobs that failed together share one. */
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
 * What an attempt cost its job. `not_begun`: nothing, it wrote no `started`. `unharmed`: nothing, although it wrote one.
 * `spent`: one of the job's `max_attempts`.
 */
export type AttemptCost = 'not_begun' | 'unharmed' | 'spent'

/**
 * What happens to a taken job. `over`: it leaves the queue. `back`: it waits again, after a delay; an `unharmed` job goes ahead of
 * the waiting jobs of its priority, a `spent` one behind them. `refused`: no slot was open, so it returns to the head of the queue.
 */
export type Disposition =
  | { readonly kind: 'over' }
  | {
      readonly kind: 'back'
      readonly delayMs: number
      readonly attempt: AttemptCost
      /** A mark to add to {@link TakenJob.failedWith}. */
      readonly failedWith?: string | undefined
    }
  | { readonly kind: 'refused' }

/** How to consume. */
export interface ConsumerOptions {
  /** A connection of this consumer's own, made for BullMQ; closed by the caller after {@link Consumer.close}. */
  readonly connection: Redis
  readonly keys: PoolKeys
  readonly slots: number
  /** A batch job is taken only while fewer jobs run than this. @defaultValue `slots` */
  readonly batchSlots?: number | undefined
  /** How long a lock lasts unrenewed (ms). */
  readonly lockMs: number
  /** How often jobs of dead workers are looked for (ms). */
  readonly stalledIntervalMs: number
  /** Runs one attempt and returns the job's disposition. Never rejects. */
  readonly run: (job: TakenJob) => Promise<Disposition>
  /** BullMQ gave a job up because its workers died too often; it never reaches `run` again. */
  readonly onGivenUp: (jobId: string) => void
  readonly onError: (error: unknown) => void
}

/** A running consumer. */
export interface Consumer {
  /** Takes jobs again. */
  open(): void
  /** Changes how many jobs may run at once, and below how many a batch job may start; running jobs are not affected. */
  resize(slots: number, batchSlots?: number): void
  /** Takes no more; a job that was being taken already may still arrive once. */
  shut(): void
  /** Shuts, and resolves when all running jobs have their disposition. Idempotent. */
  close(): Promise<void>
  /** Lets go of everything without Redis: locks run out by themselves. After {@link close} did not end. */
  abandon(): void
}

/** How long a job is new (ms), by its producer's clock: long enough for a queue where nothing waits. */
const NEW_MS = 1000
/** Most marks that a job keeps; the oldest are dropped. */
const MAX_MARKS = 8
/** Pause before retrying after a fault of Redis (ms). */
const RETRY_MS = 500

/** Starts a consumer, shut. */
export function startConsumer(options: ConsumerOptions): Consumer {
  const { connection, keys, onError } = options
  const locks = keepLocks(options.lockMs, onError)
  const bytes = openHeldBytes(connection, keys)
  const lane = (kind: Priority) => openLane({ ...options, kind, onError: onLostLock })
  const lanes = [lane('interactive'), lane('batch')]
  const { slots, batchSlots = slots } = options
  const limits = { interactive: slots, batch: batchSlots }
  const taker = createTaker({ lanes, connection, limits, run: process, onError })
  let closed: Promise<void> | undefined

  /** BullMQ refuses to move a job whose lock is not ours any more: then it is where it belongs. */
  function onLostLock(error: unknown): void {
    if (!(error instanceof Error) || !error.message.startsWith('Missing lock')) onError(error)
  }

  /**
   * Puts a job back at the head of its queue and wakes a worker: BullMQ 6.7 does not (moveJobFromActiveToWait-9.lua), and the
   * others would look only a second later.
   */
  async function putBack(from: Lane, job: Job, lockToken: string): Promise<void> {
    await job.moveToWait(lockToken).catch(onLostLock)
    await from.wake().catch(onError)
  }

  /** Removes the job from its queue; retries while the connection fails. */
  async function leaveQueue(job: Job, move: () => Promise<unknown>): Promise<void> {
    for (;;) {
      try {
        await move()
        await bytes.release(job.id ?? '')
        return
      } catch (error) {
        if (!isConnectionError(error) || closed !== undefined) return onLostLock(error)
        await sleep(RETRY_MS)
      }
    }
  }

  /** BullMQ has given the job up: nothing runs it again. */
  async function giveUp(job: Job, lockToken: string): Promise<void> {
    const reason = new UnrecoverableError(job.deferredFailure)
    await leaveQueue(job, () => job.moveToFailed(reason, lockToken, false))
    options.onGivenUp(job.id ?? '')
  }

  async function process(from: Lane, job: Job, lockToken: string): Promise<void> {
    const id = job.id ?? ''
    if (job.deferredFailure) return giveUp(job, lockToken)
    // BullMQ sends its own clock's time with the pick-up, so that is when the lock's time began.
    const age = Math.max(0, Date.now() - (job.processedOn ?? Date.now()))
    const lock = locks.keep({ lane: from, id, token: lockToken, age })
    const memory = memoryOf(job)
    try {
      const disposition = await options.run({
        id,
        body: bodyIn(QUEUE_NAMES[from.kind], job.priority, job.data),
        ...memory,
        queuedAtMs: job.timestamp,
        isNew: job.attemptsStarted <= 1 && Math.abs(Date.now() - job.timestamp) < NEW_MS,
        lockLost: lock.lost,
        confirmLock: () => lock.confirm(),
      })
      if (disposition.kind === 'refused') {
        await putBack(from, job, lockToken)
      } else if (disposition.kind === 'back') {
        await remember(job, memory, disposition).catch(options.onError)
        await setPlace(job, disposition.attempt).catch(options.onError)
        if (disposition.delayMs === 0) await putBack(from, job, lockToken)
        else await job.moveToDelayed(Date.now() + disposition.delayMs, lockToken).catch(onLostLock)
      } else {
        await leaveQueue(job, () => job.moveToCompleted(undefined, lockToken, false))
      }
    } finally {
      lock.release()
    }
  }

  async function close(): Promise<void> {
    await taker.close()
    await Promise.all(lanes.map((each) => each.close()))
    locks.stop()
    // Our last wait may have consumed a wake-up that another worker needs.
    await Promise.all(lanes.map((each) => each.wake().catch(onError)))
  }

  return {
    open() {
      if (closed !== undefined) return
      for (const each of lanes) each.watchStalled()
      taker.open()
    },
    resize: (size, forBatch = size) => taker.resize({ interactive: size, batch: forBatch }),
    shut: () => taker.shut(),
    close() {
      closed ??= close()
      return closed
    },
    abandon() {
      // No timer expires locks from here on, so abort them now; otherwise a job's end would wait forever.
      locks.abandon()
      taker.abandon()
      for (const each of lanes) each.abandon()
    },
  }
}

/**
 * An unharmed job has already waited its turn, and its answer may have readers: it goes ahead of the jobs of its priority. A job
 * whose attempt was spent may have caused the fault: it goes behind them.
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

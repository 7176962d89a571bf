/**
 * Takes jobs from a pool's two queues, at most one a slot (`taker.ts`), and keeps their locks (`locks.ts`).
 *
 * `locks.ts` renews the locks instead of BullMQ, which does not report a renewal that hangs: the same job would then run twice.
 * Each lock is trusted for a part of its time, counted from before the command that took or renewed it was sent. After that the
 * attempt is interrupted, well before another worker can take the job.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Job } from 'bullmq'
import type { Redis } from 'ioredis'
import { PRIORITIES } from '../contract/job.ts'
import type { Priority } from '../contract/job.ts'
import { QUEUE_NAMES } from '../contract/keys.ts'
import type { PoolKeys } from '../contract/keys.ts'
import { isConnectionError } from '../redis/fault.ts'
import { UnreadableBody, bodyIn, readBody } from './job-body.ts'
import { openHeldBytes } from './held-bytes.ts'
import { MAX_MARKS, readMemory } from './job-memory.ts'
import type { Memory } from './job-memory.ts'
import { openLane } from './lane.ts'
import type { Lane, QueuedJob } from './lane.ts'
import { keepLocks } from './locks.ts'
import type { RawJob } from './raw-job.ts'
import { createTaker } from './taker.ts'

/** A job that was taken from the queue. */
export interface TakenJob {
  readonly id: string
  /** What the producer wrote, unchecked. Read on demand; an {@link UnreadableBody} if it is no JSON. */
  readonly body: unknown
  /** How often the job was handed back unharmed; a producer may have written it, so the stream's attempts bound it. */
  readonly handBacks: number
  /** How many workers died or lost their lock while they had it, whether or not they began an attempt. */
  readonly deaths: number
  /** Marks of the engine failures that it was part of; jobs that failed together share one. */
  readonly failedWith: readonly string[]
  /** When it was put in the queue, by its producer's clock (ms since 1970). */
  readonly queuedAtMs: number
  /** It was put in the queue a moment ago and no worker has taken it before, as far as the queue knows. */
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
      /** {@link TakenJob.handBacks} before this attempt, if the attempt knows better. */
      readonly handBacks?: number | undefined
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
  /** How many workers may die of a job before it is given up. */
  readonly maxDeaths: () => number
  /**
   * Ends a job whose workers died too often; it never reaches `run` again, and its body is not looked at. Resolves to whether it is
   * over, so that it may leave the queue. Never rejects.
   */
  readonly giveUp: (jobId: string, deaths: number) => Promise<boolean>
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
  /**
   * Shuts, and resolves when all running jobs have their disposition. Idempotent.
   *
   * @param wakeOthers whether to wake another worker, which writes into the queue. @defaultValue true
   */
  close(wakeOthers?: boolean): Promise<void>
  /** Lets go of everything without Redis: locks run out by themselves. After {@link close} did not end. */
  abandon(): void
}

/** How long a job is new (ms), by its producer's clock: long enough for a queue where nothing waits. */
const NEW_MS = 1000
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
    if (!isLostLock(error)) onError(error)
  }

  /**
   * Puts a job back at the head of its queue and wakes a worker: BullMQ 6.7 does not (moveJobFromActiveToWait-9.lua), and the
   * others would look only a second later.
   */
  async function putBack(from: Lane, job: Job, lockToken: string): Promise<void> {
    await job.moveToWait(lockToken).catch(onLostLock)
    await from.wake().catch(onError)
  }

  /** Removes a job that is over from its queue; retries while the connection fails. */
  async function leaveQueue(from: Lane, job: Job, lockToken: string): Promise<void> {
    const id = job.id ?? ''
    for (;;) {
      try {
        await job.moveToCompleted(undefined, lockToken, false).catch(async (error: unknown) => {
          if (isConnectionError(error) || isLostLock(error)) throw error
          // BullMQ's script reads fields that a producer may have filled with anything.
          await from.discard(id)
        })
        await bytes.release(id)
        return
      } catch (error) {
        if (!isConnectionError(error) || closed !== undefined) return onLostLock(error)
        await sleep(RETRY_MS)
      }
    }
  }

  async function process(from: Lane, { job, raw }: QueuedJob, lockToken: string): Promise<void> {
    const { id } = raw
    // Our clock's time went along with the pick-up, so that is when the lock's time began.
    const age = Math.max(0, Date.now() - raw.takenAtMs)
    const lock = locks.keep({ lane: from, id, token: lockToken, age })
    try {
      // Before the body is read: it may be what they died of.
      if (raw.stalls >= options.maxDeaths()) {
        if (await options.giveUp(id, raw.stalls)) await leaveQueue(from, job, lockToken)
        else await job.moveToDelayed(Date.now() + options.lockMs, lockToken).catch(onLostLock)
        return
      }
      const memory = readMemory(raw)
      let body: { readonly value: unknown } | undefined
      const disposition = await options.run({
        id,
        get body() {
          body ??= { value: bodyIn(QUEUE_NAMES[from.kind], raw.priority, takeBody(raw)) }
          return body.value
        },
        handBacks: memory.handBacks,
        failedWith: memory.failedWith,
        deaths: raw.stalls,
        queuedAtMs: raw.addedAtMs,
        isNew: raw.takes <= 1 && Math.abs(Date.now() - raw.addedAtMs) < NEW_MS,
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
        await leaveQueue(from, job, lockToken)
      }
    } finally {
      lock.release()
    }
  }

  async function close(wakeOthers: boolean): Promise<void> {
    await taker.close()
    await Promise.all(lanes.map((each) => each.close()))
    locks.stop()
    // Our last wait may have consumed a wake-up that another worker needs.
    if (wakeOthers) await Promise.all(lanes.map((each) => each.wake().catch(onError)))
  }

  return {
    open() {
      if (closed !== undefined) return
      for (const each of lanes) each.watchStalled()
      taker.open()
    },
    resize: (size, forBatch = size) => taker.resize({ interactive: size, batch: forBatch }),
    shut: () => taker.shut(),
    close(wakeOthers = true) {
      closed ??= close(wakeOthers)
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

/** Reads a job's body and drops its text. */
function takeBody(raw: RawJob): unknown {
  const { data, flaw } = raw
  raw.data = undefined
  return flaw === undefined ? readBody(data) : new UnreadableBody(flaw)
}

/** Whether BullMQ refused to move a job because another worker has its lock, or no worker. */
function isLostLock(error: unknown): boolean {
  return error instanceof Error && /^(?:Missing lock|Lock mismatch)/.test(error.message)
}

async function remember(
  job: Job,
  memory: Memory,
  { attempt, failedWith, handBacks }: Extract<Disposition, { kind: 'back' }>,
): Promise<void> {
  // Written again also if a producer had written more than the attempt believes.
  const isRight = handBacks === undefined || handBacks === memory.storedHandBacks
  if (attempt !== 'unharmed' && failedWith === undefined && isRight) return
  const marks = failedWith === undefined ? memory.failedWith : [...memory.failedWith, failedWith]
  await job.updateProgress({
    hand_backs: (handBacks ?? memory.handBacks) + Number(attempt === 'unharmed'),
    failed_with: marks.slice(-MAX_MARKS),
  })
}

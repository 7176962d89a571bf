import { setTimeout as sleep } from 'node:timers/promises'
import type { PoolKeys } from '../contract/keys.ts'
import { QUEUED_ID } from '../contract/stream-id.ts'
import type { JobQueue } from '../queue/job-queue.ts'
import type { RedisConnection } from '../redis/connect.ts'
import { isConnectionError, isOutOfMemory, isRefusal } from '../redis/fault.ts'
import type { EventLog } from '../stream/event-log.ts'
import { errorSeal } from '../stream/seal.ts'
import { OUT_OF_MEMORY } from './memory-bound.ts'

interface Ports {
  readonly redis: RedisConnection
  readonly keys: PoolKeys
  readonly log: EventLog
  readonly queue: JobQueue
}

/** A job whose id was made here and now, so no other process can have written under it. */
interface NewJob {
  readonly id: string
  readonly retentionMs: number
}

/**
 * Waits until a new job's first event is written and the job is in its queue. If one fails, the other is undone: no caller would know
 * of a job that is in the queue alone, and one with events alone would count as queued until its deadline.
 *
 * @throws what failed.
 */
export async function bothOrNeither(
  ports: Ports,
  job: NewJob,
  writing: Promise<unknown>,
  adding: Promise<void>,
): Promise<void> {
  const [wrote, added] = await Promise.allSettled([writing, adding])
  const failed = [wrote, added].find((each) => each.status === 'rejected')
  if (failed === undefined) return
  const { reason } = failed
  if (isConnectionError(reason)) {
    // Its caller need not wait until Redis is back.
    void undoLater(ports, job)
    throw reason
  }
  const isFull = isOutOfMemory(reason)
  await undo(ports, job, isFull ? OUT_OF_MEMORY : 'Redis refused the job').catch(() => undefined)
  const wasTaken = isFull && added.status === 'fulfilled' && (await isTaken(ports, job.id))
  if (!wasTaken) throw reason
}

/** Whether a worker has the job, or has had it: it has begun the stream by itself. */
async function isTaken({ queue, log }: Ports, id: string): Promise<boolean> {
  const [held, [last]] = await Promise.all([queue.holds(id), log.lastEntries([id])])
  return held || last !== undefined
}

/** Ends a job that was not accepted, unless a worker has begun it. */
async function undo({ queue, log, keys }: Ports, job: NewJob, message: string): Promise<void> {
  const { id, retentionMs } = job
  const seal = errorSeal('ADMISSION_REJECT', { message, pool_id: keys.pool })
  await log.write({ jobId: id, expect: QUEUED_ID, entries: [seal], deadlineAt: 0, retentionMs })
  await queue.removeWaiting(id)
}

/** How often and how long apart (ms) this is tried. */
const [UNDO_TRIES, UNDO_EACH_MS] = [30, 1000]

/** The same as soon as Redis is back. */
async function undoLater(ports: Ports, job: NewJob): Promise<void> {
  for (let tries = 0; tries < UNDO_TRIES && ports.redis.status !== 'end'; tries += 1) {
    await sleep(UNDO_EACH_MS, undefined, { ref: false })
    try {
      return await undo(ports, job, 'the connection to Redis was lost before the job was accepted')
    } catch (error) {
      if (!isConnectionError(error) && !isRefusal(error)) return
    }
  }
}

import { Queue } from 'bullmq'
import { JOB_NAME, QUEUE_NAME } from '../contract/keys.ts'
import type { PoolKeys } from '../contract/keys.ts'
import { PRIORITIES } from '../contract/job.ts'
import type { Priority } from '../contract/job.ts'
import type { RedisConnection } from '../redis/connect.ts'
import { countWaiting } from './queue-depth.ts'
import type { WaitingCounts } from './queue-depth.ts'

/** A pool's queue, as producers and cancellers see it. */
export interface JobQueue {
  /** Puts a job in. The same id again is no job more. */
  add(jobId: string, body: unknown, priority: Priority): Promise<void>
  /** Whether the queue holds the job unfinished. */
  holds(jobId: string): Promise<boolean>
  /** Removes the job if it waits; an active one stays with its worker. */
  removeWaiting(jobId: string): Promise<void>
  /** Takes the job out with its body, unless a worker holds its lock. @returns whether nothing of it is left. */
  remove(jobId: string): Promise<boolean>
  waiting(): Promise<WaitingCounts>
  close(): Promise<void>
}

/** Opens a pool's queue on a connection, which stays the caller's. */
export function openJobQueue(connection: RedisConnection, keys: PoolKeys): JobQueue {
  const queue = new Queue(QUEUE_NAME, { connection, prefix: keys.queuePrefix, skipMetasUpdate: true })
  // Every command of ours is awaited and throws by itself; without a listener BullMQ prints to the console.
  queue.on('error', () => undefined)
  return {
    async add(jobId, body, priority) {
      await queue.add(JOB_NAME, body, {
        jobId,
        priority: PRIORITIES[priority],
        removeOnComplete: true,
        removeOnFail: true,
      })
    },
    async holds(jobId) {
      const state = await queue.getJobState(jobId)
      return state !== 'unknown' && state !== 'completed' && state !== 'failed'
    },
    async removeWaiting(jobId) {
      const state = await queue.getJobState(jobId)
      if (state === 'unknown' || state === 'active') return
      // Picked up since we looked: BullMQ refuses, and the worker finds the stream sealed.
      await queue.remove(jobId).catch((error: unknown) => {
        if (!/locked|active/i.test(String(error))) throw error
      })
    },
    async remove(jobId) {
      try {
        await queue.remove(jobId)
        return true
      } catch (error) {
        if (/locked|active/i.test(String(error))) return false
        throw error
      }
    },
    waiting: () => countWaiting(connection, keys),
    close: () => queue.close(),
  }
}

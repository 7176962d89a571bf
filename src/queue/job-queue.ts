import { Queue } from 'bullmq'
import { JOB_NAME, QUEUE_NAMES } from '../contract/keys.ts'
import type { PoolKeys } from '../contract/keys.ts'
import { PRIORITIES } from '../contract/job.ts'
import type { Priority } from '../contract/job.ts'
import type { RedisConnection } from '../redis/connect.ts'
import { isConnectionError, isForbidden, isRefusal } from '../redis/fault.ts'
import { openHeldBytes } from './held-bytes.ts'
import { runAtLimit } from './run-at-limit.ts'
import { removeByHand } from './queue-repair.ts'
import { countWaiting, jobKey } from './queue-depth.ts'
import type { WaitingCounts } from './queue-depth.ts'

/** A pool's two queues, presented to producers and cancellers as one. */
export interface JobQueue {
  /**
   * Adds a job to the queue of its priority. Idempotent by id.
   *
   * @param bytes how many bytes the job takes of the pool's bound.
   */
  add(jobId: string, body: unknown, priority: Priority, bytes?: number): Promise<void>
  /** Whether a queue holds the job unfinished. */
  holds(jobId: string): Promise<boolean>
  /**
   * Removes the job if it waits; an active one stays with its worker. A no-op for a Redis user that may not remove jobs: if
   * the job is over, the sweeper of another process removes it.
   */
  removeWaiting(jobId: string): Promise<void>
  /** Takes the job out with its body, unless a worker holds its lock. @returns whether nothing of it is left. */
  remove(jobId: string): Promise<boolean>
  waiting(): Promise<WaitingCounts>
  /** How many bytes the unfinished jobs hold that {@link JobQueue.add} added. */
  heldBytes(): Promise<number>
  /** Corrects those bytes after producers or workers died, a few jobs at each call. */
  tidy(): Promise<void>
  close(): Promise<void>
}

/** Opens a pool's queues on a connection, which stays the caller's. */
export function openJobQueue(connection: RedisConnection, keys: PoolKeys): JobQueue {
  runAtLimit(connection)
  const open = (name: string) => {
    const queue = new Queue(name, { connection, prefix: keys.queuePrefix, skipMetasUpdate: true })
    // Our own commands report their errors; without a listener BullMQ prints to the console.
    queue.on('error', () => undefined)
    return queue
  }
  const queues = { interactive: open(QUEUE_NAMES.interactive), batch: open(QUEUE_NAMES.batch) }
  const both = Object.values(queues)
  const held = openHeldBytes(connection, keys)
  const remove = (queue: Queue, jobId: string) =>
    removeFrom(queue, jobId, () => removeByHand(connection, keys, queue.name, jobId))
  let mayRemove = true

  async function addTo(priority: Priority, jobId: string, body: unknown): Promise<void> {
    const options = { jobId, priority: PRIORITIES[priority], removeOnComplete: true, removeOnFail: true }
    try {
      await queues[priority].add(JOB_NAME, body, options)
    } catch (error) {
      // BullMQ's script reads a job that exists already, and a producer may not. Then there is nothing left to add.
      if (!isForbidden(error) || (await connection.exists(jobKey(keys, QUEUE_NAMES[priority], jobId))) === 0)
        throw error
    }
  }

  async function removeWaiting(jobId: string): Promise<void> {
    const removed = await Promise.all(
      both.map(async (queue) => {
        const state = await queue.getJobState(jobId)
        if (state === 'active') return false
        // Picked up in the meantime: BullMQ refuses, and the worker finds the stream sealed.
        return state === 'unknown' || remove(queue, jobId)
      }),
    )
    if (removed.every(Boolean)) await held.release(jobId)
  }

  return {
    async add(jobId, body, priority, bytes = 0) {
      // Over one connection, in order.
      await Promise.all([bytes > 0 ? held.hold(jobId, bytes) : undefined, addTo(priority, jobId, body)])
    },
    holds: (jobId) => isQueued(connection, keys, jobId),
    async removeWaiting(jobId) {
      if (!mayRemove) return
      await removeWaiting(jobId).catch((error: unknown) => {
        if (!isForbidden(error)) throw error
        // It stays so, and Redis would keep a record of every try.
        mayRemove = false
      })
    },
    async remove(jobId) {
      const removed = await Promise.all(both.map((queue) => remove(queue, jobId)))
      if (!removed.every(Boolean)) return false
      const left = await Promise.all(both.map(({ name }) => connection.exists(jobKey(keys, name, jobId))))
      if (left.includes(1)) return false
      await held.release(jobId)
      return true
    },
    waiting: () => countWaiting(connection, keys),
    heldBytes: () => held.total(),
    async tidy() {
      await held.tidy(async (jobId) => {
        const there = await Promise.all(
          Object.values(QUEUE_NAMES).map((name) => connection.exists(jobKey(keys, name, jobId))),
        )
        return there.includes(1)
      })
    },
    async close() {
      await Promise.all(both.map((queue) => queue.close()))
    },
  }
}

/** Where BullMQ 6 keeps the ids of unfinished jobs (commands/getStateV2-8.lua): lists and sorted sets. */
const WAITING = {
  lists: ['wait', 'paused'],
  sortedSets: ['prioritized', 'delayed', 'waiting-children'],
} as const
const RUNNING = { lists: ['active'], sortedSets: [] } as const

/**
 * Whether a queue holds the job unfinished. BullMQ's own script says the same, but a user who only reads has no EVAL, and a
 * transaction is refused when Redis is out of memory. A job that moves meanwhile is found where it was or where it is: the commands are
 * executed in order, and the places where jobs wait come before and after those where they run.
 */
async function isQueued(redis: RedisConnection, keys: PoolKeys, jobId: string): Promise<boolean> {
  const look = (places: typeof WAITING | typeof RUNNING) =>
    Object.values(QUEUE_NAMES).flatMap((name): Promise<unknown>[] => [
      ...places.lists.map((place) => redis.lpos(jobKey(keys, name, place), jobId)),
      ...places.sortedSets.map((place) => redis.zscore(jobKey(keys, name, place), jobId)),
    ])
  const found = await Promise.all([...look(WAITING), ...look(RUNNING), ...look(WAITING)])
  return found.some((place) => place !== null)
}

/** Removes a job from one queue; false when a worker holds its lock. */
async function removeFrom(queue: Queue, jobId: string, removeBroken: () => Promise<void>): Promise<boolean> {
  try {
    return (await queue.remove(jobId)) === 1
  } catch (error) {
    if (isConnectionError(error) || isForbidden(error) || isRefusal(error)) throw error
    // BullMQ's script reads fields and keys that a producer may have filled with anything.
    await removeBroken()
    return true
  }
}

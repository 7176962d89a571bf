/**
 * What BullMQ cannot do with a job that a producer wrote into Redis by hand: its scripts parse some fields of a job and add to others,
 * and one that fails half-way leaves the job where it is.
 */
import { QueueKeys } from 'bullmq'
import type { PoolKeys } from '../contract/keys.ts'
import type { RedisConnection } from '../redis/connect.ts'

/** Where BullMQ keeps the ids of jobs: lists and sorted sets. */
const LISTS = ['wait', 'paused', 'active'] as const
const SORTED = ['prioritized', 'delayed', 'waiting-children', 'completed', 'failed'] as const
/** What belongs to one job beside its hash. */
const PARTS = [':lock', ':logs', ':dependencies', ':processed', ':failed', ':unsuccessful'] as const
/** A job that was just taken is at the head of the active ones. */
const HEAD = 16

/** Takes a job out of one queue with all that belongs to it, whatever it looks like and whoever holds it. */
export async function removeByHand(
  redis: RedisConnection,
  keys: PoolKeys,
  queue: string,
  jobId: string,
): Promise<void> {
  const names = new QueueKeys(keys.queuePrefix)
  const own = names.toKey(queue, jobId)
  const removing = takeOff(redis, names, queue, jobId)
  // An id may be the name of one of the queue's own keys.
  if (!Object.values(names.getKeys(queue)).includes(own)) {
    removing.del(own, ...PARTS.map((part) => own + part))
  }
  await removing.exec()
}

/** Takes an id out of every list of a queue. */
function takeOff(redis: RedisConnection, names: QueueKeys, queue: string, jobId: string) {
  const removing = redis.multi()
  for (const name of LISTS) removing.lrem(names.toKey(queue, name), 0, jobId)
  for (const name of SORTED) removing.zrem(names.toKey(queue, name), jobId)
  return removing.srem(names.toKey(queue, 'stalled'), jobId)
}

/** What Redis says when a script adds to a field that is no number, or writes a field of what is no hash. */
const BROKEN_JOB = /not an integer|WRONGTYPE|overflow/

/**
 * Repairs the jobs that were taken last after BullMQ's script failed with `error`: it adds to a counter of the job, and could not.
 * Such a job would be taken again and again. Counters that are none are removed, and so is an id that no job belongs to.
 */
export async function repairTaken(
  redis: RedisConnection,
  keys: PoolKeys,
  queue: string,
  error: unknown,
): Promise<void> {
  if (!BROKEN_JOB.test(String(error))) return
  const names = new QueueKeys(keys.queuePrefix)
  const ids = await redis.lrange(names.toKey(queue, 'active'), 0, HEAD - 1)
  for (const id of ids) {
    const own = names.toKey(queue, id)
    try {
      const counters = await redis.hmget(own, 'ats', 'stc')
      const isBroken = counters.some((value) => value !== null && !/^-?\d{1,15}$/.test(value))
      if (isBroken) await redis.hdel(own, 'ats', 'stc')
    } catch (fault) {
      if (!BROKEN_JOB.test(String(fault))) throw fault
      await takeOff(redis, names, queue, id).exec()
    }
  }
}

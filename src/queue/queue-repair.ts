/**
 * What BullMQ cannot do with a job that a producer wrote into Redis by hand: its scripts parse some fields of a job and add to others,
 * and one that fails half-way leaves the job where it is.
 */
import { QueueKeys } from 'bullmq'
import type { PoolKeys } from '../contract/keys.ts'
import { AT_LIMIT } from '../redis/at-limit.ts'
import type { RedisConnection } from '../redis/connect.ts'

/** Where BullMQ keeps the ids of jobs: lists and sorted sets. */
const LISTS = ['wait', 'paused', 'active'] as const
const SORTED = ['prioritized', 'delayed', 'waiting-children', 'completed', 'failed'] as const
/** What belongs to one job beside its hash. */
const PARTS = [':lock', ':logs', ':dependencies', ':processed', ':failed', ':unsuccessful'] as const
/** A job that was just taken is at the head of the active ones. */
const HEAD = 16

/**
 * KEYS: the lists, the sorted sets, the SET of jobs whose workers may be dead, then what is to be deleted; ARGV: job id, how
 * many lists, how many sorted sets.
 */
const TAKE_OFF = `${AT_LIMIT}
local job, lists, sorted = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
for i = 1, lists do redis.call('LREM', KEYS[i], 0, job) end
for i = lists + 1, lists + sorted do redis.call('ZREM', KEYS[i], job) end
redis.call('SREM', KEYS[lists + sorted + 1], job)
for i = lists + sorted + 2, #KEYS do redis.call('DEL', KEYS[i]) end`

/** Takes a job out of one queue with all that belongs to it, whatever it looks like and whichever worker holds it. */
export async function removeByHand(
  redis: RedisConnection,
  keys: PoolKeys,
  queue: string,
  jobId: string,
): Promise<void> {
  const names = new QueueKeys(keys.queuePrefix)
  const own = names.toKey(queue, jobId)
  // An id may be the name of one of the queue's own keys.
  const isTheQueues = Object.values(names.getKeys(queue)).includes(own)
  await takeOff(redis, names, queue, jobId, isTheQueues ? [] : [own, ...PARTS.map((part) => own + part)])
}

/** Takes an id out of every list of a queue, and deletes what belongs to it. */
async function takeOff(
  redis: RedisConnection,
  names: QueueKeys,
  queue: string,
  jobId: string,
  belongings: readonly string[] = [],
): Promise<void> {
  const places = [...LISTS, ...SORTED, 'stalled'].map((name) => names.toKey(queue, name))
  const touched = [...places, ...belongings]
  await redis.eval(TAKE_OFF, touched.length, ...touched, jobId, LISTS.length, SORTED.length)
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
      await takeOff(redis, names, queue, id)
    }
  }
}

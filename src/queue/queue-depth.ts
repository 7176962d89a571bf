import { QueueKeys } from 'bullmq'
import { FIRST_BATCH_PRIORITY } from '../contract/job.ts'
import { QUEUE_NAMES } from '../contract/keys.ts'
import type { PoolKeys } from '../contract/keys.ts'
import type { RedisConnection } from '../redis/connect.ts'

/** How many jobs wait, by priority. */
export interface WaitingCounts {
  /** In `jobs` ahead of the priority `batch`, or with none, as plain BullMQ producers add them. */
  readonly interactive: number
  /** In `batch`, whatever their priority there, and in `jobs` with the priority `batch` or below it. */
  readonly batch: number
  /** In both queues: handed back or added with a delay, and not due yet. */
  readonly delayed: number
}

/** How deep a pool's queues are. */
export interface QueueDepth extends WaitingCounts {
  /** With a worker. */
  readonly active: number
  /** Those who wait at the head of their lines: who waits longest is among them, unless it was handed back. */
  readonly heads: readonly WaitingJob[]
}

/** A job that waits. */
export interface WaitingJob {
  readonly id: string
  /** When its producer added it, by the producer's clock (ms since 1970). */
  readonly addedAt: number
}

/** How far into a line is looked: a job that is taken meanwhile is none any more. */
const HEADS = 3
/** The same for jobs that were handed back: they are sorted by when they are due, and they are few. */
const DELAYED_HEADS = 16
/** BullMQ 6 keeps prioritized jobs by priority × 2^32 + a counter (commands/includes/getPriorityScore.lua). */
const BATCH_SCORE = String(FIRST_BATCH_PRIORITY * 2 ** 32)

/**
 * Counts the queues in two round trips; each command takes O(log n) at most. BullMQ's own
 * counters do not know which job waits longest, and write to the queue (getCounts-1.lua removes markers); these only read.
 */
export async function readQueueDepth(redis: RedisConnection, keys: PoolKeys): Promise<QueueDepth> {
  const [counts, ...queues] = await Promise.all([
    countWaiting(redis, keys),
    ...Object.values(QUEUE_NAMES).map((name) => readQueue(redis, keys, name)),
  ])
  return {
    ...counts,
    active: queues.reduce((sum, { active }) => sum + active, 0),
    heads: queues.flatMap(({ heads }) => heads),
  }
}

async function readQueue(
  redis: RedisConnection,
  keys: PoolKeys,
  name: string,
): Promise<Pick<QueueDepth, 'active' | 'heads'>> {
  const { wait, prioritized, delayed, active } = keysOf(keys, name)
  const [running, ...lines] = await Promise.all([
    redis.llen(active),
    // BullMQ takes from the right end of this list.
    redis.lrange(wait, -HEADS, -1),
    redis.zrange(prioritized, 0, String(HEADS - 1)),
    redis.zrangebyscore(prioritized, BATCH_SCORE, '+inf', 'LIMIT', 0, HEADS),
    redis.zrange(delayed, 0, String(DELAYED_HEADS - 1)),
  ])
  const delayedHeads = lines.pop() ?? []
  const [waiting, handedBack] = await Promise.all([
    readJobs(redis, keys, name, lines.flat()),
    readJobs(redis, keys, name, delayedHeads),
  ])
  // A delayed job that was never taken was added with that delay on purpose.
  const heads = [...waiting, ...handedBack.filter(({ taken }) => taken)]
  return { active: running, heads: heads.map(({ id, addedAt }) => ({ id, addedAt })) }
}

/** Counts the jobs that wait: one round trip, and no script, since every enqueue asks. */
export async function countWaiting(redis: RedisConnection, keys: PoolKeys): Promise<WaitingCounts> {
  const jobs = keysOf(keys, QUEUE_NAMES.interactive)
  const batch = keysOf(keys, QUEUE_NAMES.batch)
  const [plain, urgent, late, batchOfOld, batchPlain, batchPrioritized, batchLate] = await Promise.all([
    redis.llen(jobs.wait),
    redis.zcount(jobs.prioritized, '-inf', `(${BATCH_SCORE}`),
    redis.zcard(jobs.delayed),
    redis.zcount(jobs.prioritized, BATCH_SCORE, '+inf'),
    redis.llen(batch.wait),
    redis.zcard(batch.prioritized),
    redis.zcard(batch.delayed),
  ])
  return {
    interactive: plain + urgent,
    batch: batchOfOld + batchPlain + batchPrioritized,
    delayed: late + batchLate,
  }
}

async function readJobs(
  redis: RedisConnection,
  keys: PoolKeys,
  name: string,
  ids: readonly string[],
): Promise<(WaitingJob & { readonly taken: boolean })[]> {
  const unique = [...new Set(ids)]
  const fields = await Promise.all(
    unique.map((id) =>
      redis.hmget(jobKey(keys, name, id), 'timestamp', 'ats').catch((error: unknown) => {
        // An id whose key is no job must not hide the others.
        if (!String(error).includes('WRONGTYPE')) throw error
        return []
      }),
    ),
  )
  return unique.flatMap((id, index) => {
    const [timestamp, taken] = fields[index] ?? []
    // Gone since, or no time.
    if (!/^\d{1,16}$/.test(timestamp ?? '')) return []
    return [{ id, addedAt: Number(timestamp), taken: taken !== null }]
  })
}

/** The key of a job in a queue. */
export function jobKey(keys: PoolKeys, name: string, jobId: string): string {
  return new QueueKeys(keys.queuePrefix).toKey(name, jobId)
}

function keysOf(keys: PoolKeys, name: string): Record<'wait' | 'prioritized' | 'delayed' | 'active', string> {
  const names = new QueueKeys(keys.queuePrefix)
  const key = (type: string) => names.toKey(name, type)
  return {
    wait: key('wait'),
    prioritized: key('prioritized'),
    delayed: key('delayed'),
    active: key('active'),
  }
}

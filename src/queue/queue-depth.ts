import { QueueKeys } from 'bullmq'
import { PRIORITIES } from '../contract/job.ts'
import { QUEUE_NAME } from '../contract/keys.ts'
import type { PoolKeys } from '../contract/keys.ts'
import type { RedisConnection } from '../redis/connect.ts'

/** How many jobs wait, by priority. */
export interface WaitingCounts {
  /** With the priority `interactive` or above, or with none, as plain BullMQ producers add them. */
  readonly interactive: number
  /** With a priority below that. */
  readonly batch: number
  /** Handed back, or added with a delay, and not due yet. */
  readonly delayed: number
}

/** How deep a pool's queue is. */
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
const BATCH_SCORE = String((PRIORITIES.interactive + 1) * 2 ** 32)

/**
 * Looks at a queue: two round trips of commands that take the same time however long it is (O(log n)). BullMQ's own
 * counters cannot tell who waits longest, and write to the queue (getCounts-1.lua removes markers); these only read.
 */
export async function readQueueDepth(redis: RedisConnection, keys: PoolKeys): Promise<QueueDepth> {
  const { wait, prioritized, delayed, active } = keysOf(keys)
  const [counts, running, ...lines] = await Promise.all([
    countWaiting(redis, keys),
    redis.llen(active),
    // BullMQ takes from the right end of this list.
    redis.lrange(wait, -HEADS, -1),
    redis.zrange(prioritized, 0, String(HEADS - 1)),
    redis.zrangebyscore(prioritized, BATCH_SCORE, '+inf', 'LIMIT', 0, HEADS),
    redis.zrange(delayed, 0, String(DELAYED_HEADS - 1)),
  ])
  const delayedHeads = lines.pop() ?? []
  const [waiting, handedBack] = await Promise.all([
    readJobs(redis, keys, lines.flat()),
    readJobs(redis, keys, delayedHeads),
  ])
  return {
    ...counts,
    active: running,
    // One that nobody has taken yet was added with a delay on purpose.
    heads: [...waiting, ...handedBack.filter(({ taken }) => taken)].map(({ id, addedAt }) => ({
      id,
      addedAt,
    })),
  }
}

/** Counts the jobs that wait: one round trip, and no script, since every enqueue asks. */
export async function countWaiting(redis: RedisConnection, keys: PoolKeys): Promise<WaitingCounts> {
  const { wait, prioritized, delayed } = keysOf(keys)
  const [plain, urgent, batch, late] = await Promise.all([
    redis.llen(wait),
    redis.zcount(prioritized, '-inf', `(${BATCH_SCORE}`),
    redis.zcount(prioritized, BATCH_SCORE, '+inf'),
    redis.zcard(delayed),
  ])
  return { interactive: plain + urgent, batch, delayed: late }
}

async function readJobs(
  redis: RedisConnection,
  keys: PoolKeys,
  ids: readonly string[],
): Promise<(WaitingJob & { readonly taken: boolean })[]> {
  const { '': base } = keysOf(keys)
  const unique = [...new Set(ids)]
  const fields = await Promise.all(unique.map((id) => redis.hmget(`${base}${id}`, 'timestamp', 'ats')))
  return unique.flatMap((id, index) => {
    const [timestamp, taken] = fields[index] ?? []
    // Gone since.
    if (timestamp === undefined || timestamp === null) return []
    return [{ id, addedAt: Number(timestamp), taken: taken !== null }]
  })
}

function keysOf(keys: PoolKeys): Record<'' | 'wait' | 'prioritized' | 'delayed' | 'active', string> {
  const names = new QueueKeys(keys.queuePrefix)
  const key = (type: string) => names.toKey(QUEUE_NAME, type)
  return {
    '': key(''),
    wait: key('wait'),
    prioritized: key('prioritized'),
    delayed: key('delayed'),
    active: key('active'),
  }
}

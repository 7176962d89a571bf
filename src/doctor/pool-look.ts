import { QUEUE_NAMES } from '../contract/keys.ts'
import type { PoolKeys } from '../contract/keys.ts'
import { openHeldBytes } from '../queue/held-bytes.ts'
import type { RedisConnection } from '../redis/connect.ts'

/** What a pool's queue and deadlines show beyond the number of waiting jobs. */
export interface QueueLook {
  /** The paused BullMQ queues. */
  readonly paused: readonly string[]
  /** Bytes of the jobs that have not ended. */
  readonly bytes: number
  /** Jobs whose deadline passed more than {@link SWEEP_GRACE_MS} ago and that have not been ended. */
  readonly overdue: number
  /** Jobs that are with a worker, whose lock is gone. */
  readonly unlocked: number
}

/** Sweepers look every second, and accepted jobs end by their deadline + 2 s (src/README.md). */
const SWEEP_GRACE_MS = 2000
/** How many active jobs are looked at. */
const ACTIVE_LIMIT = 1000

/**
 * Looks at BullMQ's own keys: `meta` has a field `paused` while the queue is (BullMQ 6, commands/pause-7.lua), `active`
 * lists jobs that are with a worker, and `<job>:lock` is there while that one lives (commands/moveToActive-11.lua).
 */
export async function lookAtQueue(redis: RedisConnection, keys: PoolKeys, nowMs: number): Promise<QueueLook> {
  const [paused, bytes, overdue, ...unlocked] = await Promise.all([
    Promise.all(QUEUES.map((name) => redis.hexists(queueKey(keys, name, 'meta'), 'paused'))),
    openHeldBytes(redis, keys).total(),
    redis.zcount(keys.deadlines, '-inf', nowMs - SWEEP_GRACE_MS),
    ...QUEUES.map((name) => countUnlocked(redis, keys, name)),
  ])
  return {
    paused: QUEUES.filter((_, index) => paused[index] === 1),
    bytes,
    overdue,
    unlocked: unlocked.reduce((sum, count) => sum + count, 0),
  }
}

const QUEUES = Object.values(QUEUE_NAMES)

/** The key of BullMQ's queue that holds that. */
function queueKey(keys: PoolKeys, queue: string, name: string): string {
  return `${keys.queuePrefix}:${queue}:${name}`
}

/** A job that ends between the two reads has no lock either, so only jobs seen twice count. */
async function countUnlocked(redis: RedisConnection, keys: PoolKeys, queue: string): Promise<number> {
  const first = await unlockedJobs(redis, keys, queue)
  if (first.length === 0) return 0
  const again = new Set(await unlockedJobs(redis, keys, queue))
  return first.filter((id) => again.has(id)).length
}

async function unlockedJobs(redis: RedisConnection, keys: PoolKeys, queue: string): Promise<string[]> {
  const ids = await redis.lrange(queueKey(keys, queue, 'active'), 0, ACTIVE_LIMIT - 1)
  const locks = await Promise.all(ids.map((id) => redis.exists(queueKey(keys, queue, `${id}:lock`))))
  return ids.filter((_, index) => locks[index] === 0)
}

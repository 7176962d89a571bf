import { QUEUE_NAMES } from '../contract/keys.ts'
import type { PoolKeys } from '../contract/keys.ts'
import type { JobQueue } from '../queue/job-queue.ts'
import { jobKey } from '../queue/queue-depth.ts'
import type { RedisConnection } from '../redis/connect.ts'

/** Finds cancelled jobs that still wait: who cancelled them may not remove jobs from the queue, or died before it could. */
export interface CancelledJobs {
  /** Removes the next of them from the queue, at most a thousand; running jobs stay with their workers. */
  remove(): Promise<void>
}

/** Jobs that are looked at, or removed, with one call. */
const PAGE = 1000
/** Pages of jobs that have left the queue which one call skips. */
const PAGES = 20
/** Jobs that are removed at once. */
const AT_ONCE = 16

/** Starts with the oldest cancelled job whose events are still kept. */
export function createCancelledJobs(
  redis: RedisConnection,
  keys: PoolKeys,
  queue: Pick<JobQueue, 'removeWaiting'>,
): CancelledJobs {
  /** Jobs that were cancelled before have been looked at (ms since 1970). */
  let from = 0

  async function nextPage(): Promise<string[]> {
    const index = keys.index('cancelled')
    const found = await redis.zrangebyscore(index, from, '+inf', 'WITHSCORES', 'LIMIT', 0, PAGE)
    const last = Number(found.at(-1) ?? from)
    // Others may follow within the same millisecond, unless it fills a page by itself.
    from = found.length === 2 * PAGE && last === from ? last + 1 : last
    return found.filter((_, at) => at % 2 === 0)
  }

  /** How many keys these jobs have in the queues: one command, whatever their number. */
  async function countLeft(jobIds: readonly string[]): Promise<number> {
    if (jobIds.length === 0) return 0
    const names = Object.values(QUEUE_NAMES)
    return redis.exists(...jobIds.flatMap((id) => names.map((name) => jobKey(keys, name, id))))
  }

  async function removeLeft(jobIds: readonly string[]): Promise<void> {
    for (let at = 0; at < jobIds.length; at += AT_ONCE) {
      const some = jobIds.slice(at, at + AT_ONCE)
      if ((await countLeft(some)) === 0) continue
      const counts = await Promise.all(some.map((id) => countLeft([id])))
      const left = some.filter((_, index) => counts[index] !== 0)
      await Promise.all(left.map((id) => queue.removeWaiting(id)))
    }
  }

  return {
    async remove() {
      for (let pages = 0; pages < PAGES; pages += 1) {
        const ids = await nextPage()
        if ((await countLeft(ids)) > 0) return removeLeft(ids)
        if (ids.length < PAGE) return
      }
    },
  }
}

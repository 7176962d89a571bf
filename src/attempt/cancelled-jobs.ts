import type { PoolKeys } from '../contract/keys.ts'
import { QUEUE_NAMES } from '../contract/keys.ts'
import type { JobQueue } from '../queue/job-queue.ts'
import { jobKey } from '../queue/queue-depth.ts'
import type { RedisConnection } from '../redis/connect.ts'

/** Finds cancelled jobs that still wait: who cancelled them may not remove jobs from the queue, or died before it could. */
export interface CancelledJobs {
  /** Removes the next few hundred of them from the queue; running jobs stay with their workers. */
  remove(): Promise<void>
}

/** Most jobs of one call. */
const PAGE = 500

/** Starts with the oldest cancelled job whose events are still kept. */
export function createCancelledJobs(
  redis: RedisConnection,
  keys: PoolKeys,
  queue: Pick<JobQueue, 'removeWaiting'>,
): CancelledJobs {
  const index = keys.index('cancelled')
  /** Jobs cancelled before this time have been looked at (ms since 1970). */
  let from = 0

  async function isLeft(jobIds: readonly string[]): Promise<boolean> {
    const names = Object.values(QUEUE_NAMES)
    return (await redis.exists(...jobIds.flatMap((id) => names.map((name) => jobKey(keys, name, id))))) > 0
  }

  return {
    async remove() {
      const found = await redis.zrangebyscore(index, from, '+inf', 'WITHSCORES', 'LIMIT', 0, PAGE)
      const ids = found.filter((_, at) => at % 2 === 0)
      const last = Number(found.at(-1) ?? from)
      if (ids.length > 0 && (await isLeft(ids))) {
        for (const id of ids) if (await isLeft([id])) await queue.removeWaiting(id)
      }
      // Others may follow within the same millisecond, unless that alone fills pages.
      from = ids.length === PAGE && last === from ? last + 1 : last
    },
  }
}

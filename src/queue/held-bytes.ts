import type { PoolKeys } from '../contract/keys.ts'
import { AT_LIMIT } from '../redis/at-limit.ts'
import type { RedisConnection } from '../redis/connect.ts'

/**
 * How many bytes a pool's jobs hold in its queues, by job and in total, in one HASH that one script changes: the total always
 * equals the sum of the jobs. A job is recorded before it enters a queue and removed after it has left, so a process that dies in
 * between leaves an entry too many, never one too few. {@link HeldBytes.tidy} removes those.
 */
export interface HeldBytes {
  /** The total of all jobs. */
  total(): Promise<number>
  /** Records a job. Idempotent. */
  hold(jobId: string, bytes: number): Promise<void>
  /** Removes a job. Idempotent. */
  release(jobId: string): Promise<void>
  /**
   * Checks the next few hundred jobs, and removes those that are in no queue now and were in none at the check before.
   */
  tidy(isQueued: (jobId: string) => Promise<boolean>): Promise<void>
}

/** The field of the total; job ids contain no colon. */
const TOTAL = ':total'

/** KEYS[1] the HASH; ARGV: job id, its bytes from now on (0: it has left), the field of the sum. */
const SET_BYTES = `${AT_LIMIT}
local before = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0)
local bytes = tonumber(ARGV[2])
if bytes == before then return 0 end
if bytes == 0 then redis.call('HDEL', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[1], bytes) end
redis.call('HINCRBY', KEYS[1], ARGV[3], bytes - before)
return 1`

/** How many jobs one call checks. */
const TIDY_COUNT = 500

/** Opens a pool's byte counts on a connection. */
export function openHeldBytes(redis: RedisConnection, keys: PoolKeys): HeldBytes {
  let cursor = '0'
  let gone = new Set<string>()
  let missing = new Set<string>()

  async function set(jobId: string, bytes: number): Promise<void> {
    await redis.eval(SET_BYTES, 1, keys.bytes, jobId, bytes, TOTAL)
  }

  return {
    total: async () => Number((await redis.hget(keys.bytes, TOTAL)) ?? 0),
    hold: set,
    release: (jobId) => set(jobId, 0),
    async tidy(isQueued) {
      const [next, fields] = await redis.hscan(keys.bytes, cursor, 'COUNT', TIDY_COUNT)
      cursor = next
      const jobs = fields.filter((field, index) => index % 2 === 0 && field !== TOTAL)
      const queued = await Promise.all(jobs.map(isQueued))
      for (const [index, job] of jobs.entries()) {
        if (queued[index] === true) continue
        // Its producer may be about to add it to a queue.
        if (gone.has(job)) await set(job, 0)
        else missing.add(job)
      }
      if (next !== '0') return
      gone = missing
      missing = new Set()
    },
  }
}

import type { PoolKeys } from '../contract/keys.ts'
import type { RedisConnection } from '../redis/connect.ts'

/**
 * How many bytes a pool's jobs hold in its queues, job by job and together, in one HASH that one script changes: the sum
 * is always that of the jobs. A job is written down before it is in a queue and struck out after it has left, so a
 * process that dies in between leaves one too many, never one too few; {@link HeldBytes.tidy} strikes those out.
 */
export interface HeldBytes {
  /** Of all jobs. */
  total(): Promise<number>
  /** Writes a job down; once more changes nothing. */
  hold(jobId: string, bytes: number): Promise<void>
  /** Strikes a job out; one that is not there changes nothing. */
  release(jobId: string): Promise<void>
  /**
   * Looks at some hundred jobs more at each call, and strikes out those that are in no queue and were in none when they were
   * looked at before.
   */
  tidy(isQueued: (jobId: string) => Promise<boolean>): Promise<void>
}

/** No job's id: those hold no colon. */
const TOTAL = ':total'

/** KEYS[1] the HASH; ARGV: job id, its bytes from now on (0: it has left), the field of the sum. */
const SET_BYTES = `
local before = tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0)
local bytes = tonumber(ARGV[2])
if bytes == before then return 0 end
if bytes == 0 then redis.call('HDEL', KEYS[1], ARGV[1]) else redis.call('HSET', KEYS[1], ARGV[1], bytes) end
redis.call('HINCRBY', KEYS[1], ARGV[3], bytes - before)
return 1`

/** How many jobs are looked at in one go. */
const TIDY_COUNT = 500

/** Opens a pool's account on a connection. */
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
        // Its producer may be just about to put it in.
        if (gone.has(job)) await set(job, 0)
        else missing.add(job)
      }
      if (next !== '0') return
      gone = missing
      missing = new Set()
    },
  }
}

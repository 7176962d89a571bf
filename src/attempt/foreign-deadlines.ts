import { randomUUID } from 'node:crypto'
import type { Priority } from '../contract/job.ts'
import type { PoolKeys } from '../contract/keys.ts'
import type { PoolConfig } from '../contract/pool-config.ts'
import { SEAL_ID } from '../contract/stream-id.ts'
import { startWaitingScan } from '../queue/waiting-scan.ts'
import { AT_LIMIT } from '../redis/at-limit.ts'
import { redisTimeMs } from '../redis/connect.ts'
import type { RedisConnection } from '../redis/connect.ts'
import { readGivenJob } from './given-job.ts'

/** Finds waiting jobs without a deadline: a plain BullMQ producer added them and wrote no `queued`. */
export interface ForeignDeadlines {
  /**
   * Reads the next page of waiting jobs and records a deadline for those without one, so that the sweep ends them like any
   * other, and puts them in the index. A no-op while another process scans.
   *
   * A job is found within one beat of the sweeper (0.7 s) for each thousand jobs that wait in its queue.
   */
  scan(config: PoolConfig): Promise<void>
}

/** How long the scanning process may be silent before another takes over (ms): two beats. */
const CLAIM_MS = 1500
/** Before 2001: not a time in ms. */
const MIN_TIME_MS = 1e12

/**
 * KEYS the job's stream, `deadlines`, the index of queued jobs, that of batch jobs; ARGV job id, deadline (ms since 1970), the id
 * of a seal, when it was accepted (ms since 1970), its priority. A job that is over has left `deadlines` for good, though its place
 * in the queue may be left, so all keys are read and written in one step. A job with a stream is in the index already.
 */
const ADD_DEADLINE = `${AT_LIMIT}
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if last and last[1] == ARGV[3] then return end
if redis.call('ZADD', KEYS[2], 'NX', ARGV[2], ARGV[1]) == 0 or last then return end
redis.call('ZADD', KEYS[3], ARGV[4], ARGV[1])
if ARGV[5] == 'batch' then
  redis.call('ZADD', KEYS[4], 'inf', ARGV[1])
else
  redis.call('ZREM', KEYS[4], ARGV[1])
end`

/** KEYS[1] `scan`; ARGV[1] this process, ARGV[2] ms. Returns 1: this process scans; 0: another one does. */
const CLAIM = `${AT_LIMIT}
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`

/** Scans one pool. */
export function createForeignDeadlines(redis: RedisConnection, keys: PoolKeys): ForeignDeadlines {
  const me = randomUUID()
  const waiting = startWaitingScan(redis, keys)

  /** One scanning process a pool is enough. */
  async function claim(): Promise<boolean> {
    return (await redis.eval(CLAIM, 1, keys.scan, me, CLAIM_MS)) === 1
  }

  async function addDeadline(
    jobId: string,
    acceptedAt: number,
    { deadlineMs, priority }: Terms,
  ): Promise<void> {
    const touched = [keys.events(jobId), keys.deadlines, keys.index('queued'), keys.batchIndex]
    const args = [jobId, acceptedAt + deadlineMs, SEAL_ID, acceptedAt, priority]
    await redis.eval(ADD_DEADLINE, touched.length, ...touched, ...args)
  }

  return {
    async scan(config) {
      if (!(await claim())) return
      const ids = await waiting.next()
      if (ids.length === 0) return
      const known = await redis.zmscore(keys.deadlines, ids)
      const foreign = ids.filter((_, index) => known[index] === null)
      if (foreign.length === 0) return
      const nowMs = await redisTimeMs(redis, keys.config)
      for await (const { id, addedAtMs, body } of waiting.read(foreign)) {
        await addDeadline(id, acceptedAtOf(addedAtMs, nowMs), termsOf(id, body, config))
      }
    },
  }
}

/** What a waiting job's body says of it. */
interface Terms {
  readonly deadlineMs: number
  readonly priority: Priority
}

/** A worker refuses an invalid body at pick-up; until then the defaults apply. */
function termsOf(jobId: string, body: unknown, config: PoolConfig): Terms {
  try {
    const given = readGivenJob(jobId, body, config)
    if (given.kind === 'job') return { deadlineMs: given.budget.deadlineMs, priority: given.job.priority }
  } catch {
    // One body that cannot be read must not keep the jobs behind it from their deadlines.
  }
  return { deadlineMs: config.deadline_ms, priority: 'interactive' }
}

/**
 * When a job without `queued` was accepted (ms since 1970): when its producer added it, by the producer's clock, but never
 * later than `nowMs`. `nowMs` if the producer gave no time.
 */
export function acceptedAtOf(addedAtMs: number, nowMs: number): number {
  return addedAtMs >= MIN_TIME_MS ? Math.min(addedAtMs, nowMs) : nowMs
}

import { randomUUID } from 'node:crypto'
import type { PoolKeys } from '../contract/keys.ts'
import type { PoolConfig } from '../contract/pool-config.ts'
import { SEAL_ID } from '../contract/stream-id.ts'
import { startWaitingScan } from '../queue/waiting-scan.ts'
import { redisTimeMs } from '../redis/connect.ts'
import type { RedisConnection } from '../redis/connect.ts'
import { readGivenJob } from './given-job.ts'

/** Finds jobs that wait and have no deadline yet: a plain BullMQ producer added them and wrote no `queued`. */
export interface ForeignDeadlines {
  /**
   * Looks at the next page of waiting jobs and gives those without a deadline theirs, from which on the sweep ends them
   * like any other. A no-op while another process does it.
   *
   * A job is seen within one beat of the sweeper (0.7 s) a thousand jobs that wait in its line.
   */
  scan(config: PoolConfig): Promise<void>
}

/** How long the process that scans may be silent before another takes over (ms): two beats. */
const CLAIM_MS = 1500
/** Before 2001: not a time in ms. */
const MIN_TIME_MS = 1e12

/** For one pool. */
export function createForeignDeadlines(redis: RedisConnection, keys: PoolKeys): ForeignDeadlines {
  const me = randomUUID()
  const waiting = startWaitingScan(redis, keys)

  /** One process is enough, however many there are. */
  async function claim(): Promise<boolean> {
    const holder = await redis.set(keys.scan, me, 'PX', CLAIM_MS, 'NX', 'GET')
    if (holder === me) await redis.pexpire(keys.scan, CLAIM_MS)
    return holder === null || holder === me
  }

  /** A job that ended meanwhile has left `deadlines` before this came: it must not stay there. */
  async function addDeadline(jobId: string, deadlineAt: number): Promise<void> {
    if ((await redis.zadd(keys.deadlines, 'NX', deadlineAt, jobId)) === 0) return
    const [last] = await redis.xrevrange(keys.events(jobId), '+', '-', 'COUNT', 1)
    if (last?.[0] === SEAL_ID) await redis.zrem(keys.deadlines, jobId)
  }

  return {
    async scan(config) {
      if (!(await claim())) return
      const ids = await waiting.next()
      if (ids.length === 0) return
      const known = await redis.zmscore(keys.deadlines, ids)
      const foreign = ids.filter((_, index) => known[index] === null)
      if (foreign.length === 0) return
      const [nowMs, jobs] = await Promise.all([redisTimeMs(redis, keys.config), waiting.read(foreign)])
      for (const { id, addedAtMs, body } of jobs) {
        await addDeadline(id, acceptedAtOf(addedAtMs, nowMs) + budgetOf(id, body, config))
      }
    },
  }
}

/** A body that no pool takes says so when a worker picks it up, or ends by the default deadline. */
function budgetOf(jobId: string, body: unknown, config: PoolConfig): number {
  try {
    const given = readGivenJob(jobId, body, config)
    if (given.kind === 'job') return given.budget.deadlineMs
  } catch {
    // One body that cannot be read must not keep the jobs behind it from their deadlines.
  }
  return config.deadline_ms
}

/**
 * When a job without `queued` was accepted (ms since 1970): when its producer added it, by the producer's clock, but not
 * later than `nowMs`; that, when the producer gives no time.
 */
export function acceptedAtOf(addedAtMs: number, nowMs: number): number {
  return addedAtMs >= MIN_TIME_MS ? Math.min(addedAtMs, nowMs) : nowMs
}

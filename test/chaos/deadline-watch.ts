import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import type { PoolKeys } from '../../src/contract/keys.ts'
import { redisTimeMs } from '../../src/redis/connect.ts'
import { DEADLINE_GRACE_MS } from './check-rest.ts'
import type { OverdueEvidence } from './evidence.ts'

/** Looks for jobs that are not over though their deadline has passed. */
export interface DeadlineWatch {
  readonly overdue: readonly OverdueEvidence[]
  stop(): Promise<void>
}

const BEAT_MS = 100

/** Watches the jobs whose deadline has not been kept yet: a seal takes a job out in the same step. */
export function watchDeadlines(redis: Redis, keys: PoolKeys): DeadlineWatch {
  const overdue: OverdueEvidence[] = []
  const stopping = new AbortController()

  async function look(): Promise<void> {
    // The clock first: what is there after it was there then.
    const now = await redisTimeMs(redis)
    const late = await redis.zrangebyscore(keys.deadlines, '-inf', now - DEADLINE_GRACE_MS, 'WITHSCORES')
    for (let at = 0; at < late.length; at += 2) {
      overdue.push({ jobId: late[at] ?? '', deadlineAt: Number(late[at + 1]), seenAt: now })
    }
  }

  async function watch(): Promise<void> {
    while (!stopping.signal.aborted) {
      // While Redis is away there is nothing to see.
      await look().catch(() => undefined)
      await sleep(BEAT_MS, undefined, { signal: stopping.signal }).catch(() => undefined)
    }
  }

  const watching = watch()
  return {
    overdue,
    stop() {
      stopping.abort()
      return watching
    },
  }
}

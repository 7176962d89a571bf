import { PoolError } from '../contract/error.ts'
import type { PoolKeys } from '../contract/keys.ts'
import { QUEUED_ID, SEAL_ID, START } from '../contract/stream-id.ts'
import { redisTimeMs } from '../redis/connect.ts'
import type { RedisConnection } from '../redis/connect.ts'
import { parseEntry } from './entry.ts'
import type { LogEntry } from './entry.ts'
import { ANYTHING } from './event-log.ts'
import type { EventLog } from './event-log.ts'
import { forgetDeadline } from './job-index.ts'
import { errorSeal } from './seal.ts'
import type { QueuePort } from './seal.ts'

/** One pool's part of a sweep. */
export interface SweepRequest {
  readonly redis: RedisConnection
  readonly log: EventLog
  readonly queue: QueuePort
  readonly keys: PoolKeys
  readonly retentionMs: number
  /** Called when this call ended a job. */
  readonly onSealed?: ((jobId: string, seal: LogEntry) => void) | undefined
}

/** How many jobs one sweep ends at most; the next sweep goes on. */
const SWEEP_COUNT = 1000
/** How many jobs are sealed at once: a thousand jobs due together end within a second. */
const AT_ONCE = 16
/** A running job's stream moves between our look and our write; it is looked at again this often. */
const TRIES = 10

/**
 * Ends every job whose deadline has passed: `DEADLINE_UNMET` when it never started, else `DECODE_TIMEOUT`. Any
 * number of processes may sweep at once: the first seal wins.
 *
 * @returns how many jobs this call ended.
 */
export async function sweepDeadlines(request: SweepRequest): Promise<number> {
  const { redis, keys } = request
  const now = await redisTimeMs(redis, keys.config)
  const due = await redis.zrangebyscore(keys.deadlines, '-inf', now, 'LIMIT', 0, SWEEP_COUNT)
  let ended = 0
  for (let at = 0; at < due.length; at += AT_ONCE) {
    const over = await Promise.all(
      due.slice(at, at + AT_ONCE).map((jobId) =>
        // A job that cannot be read must not block those after it.
        sweepJob(request, jobId).catch((error: unknown) => {
          if (!isUnreadable(error)) throw error
          return sealUnreadable(request, jobId, error)
        }),
      ),
    )
    ended += over.filter(Boolean).length
  }
  return ended
}

async function sweepJob(request: SweepRequest, jobId: string): Promise<boolean> {
  const { redis, log, keys, retentionMs } = request
  for (let tries = 0; tries < TRIES; tries += 1) {
    const [last] = await log.lastEntries([jobId])
    // Without a stream it is a plain BullMQ producer's job that still waits, or the rest of a job that is gone.
    const gone = last === undefined ? !(await request.queue.holds(jobId)) : last.id === SEAL_ID
    if (gone) {
      // If it has come back since, its deadline may be another one: the next sweep sees.
      await forgetDeadline(redis, keys, jobId, last?.id ?? START)
      return false
    }
    const seal = deadlineSeal(last, keys.pool)
    const write = { jobId, expect: last?.id ?? START, entries: [seal], deadlineAt: 0, retentionMs }
    if (!(await log.write(write)).written) continue
    request.onSealed?.(jobId, seal)
    await request.queue.removeWaiting(jobId)
    return true
  }
  return false
}

/** What will be the same at the next look; all else (the line, memory, a failover) may be gone by then. */
function isUnreadable(error: unknown): boolean {
  return error instanceof PoolError || isWrongType(error)
}

function isWrongType(error: unknown): boolean {
  return error instanceof Error && error.message.startsWith('WRONGTYPE')
}

/** Ends a job whose stream is not one of ours, whatever is in it; a key of another kind leaves the deadlines only. */
async function sealUnreadable(request: SweepRequest, jobId: string, error: unknown): Promise<boolean> {
  const { log, keys, redis, retentionMs } = request
  if (isWrongType(error)) {
    await forgetDeadline(redis, keys, jobId, START)
    return false
  }
  const message = error instanceof PoolError ? error.message : 'its events cannot be read'
  const seal = errorSeal('INTERNAL', { message, pool_id: keys.pool })
  const write = { jobId, expect: ANYTHING, entries: [seal], deadlineAt: 0, retentionMs } as const
  const { written } = await log.write(write)
  if (written) request.onSealed?.(jobId, seal)
  return written
}

/** The seal of a job whose deadline has passed, after its last entry; undefined when there is none. */
export function deadlineSeal(last: LogEntry | undefined, pool: string): LogEntry {
  if (last === undefined || last.id === QUEUED_ID) {
    return errorSeal('DEADLINE_UNMET', {
      message: 'the deadline passed before a replica was free',
      pool_id: pool,
    })
  }
  return errorSeal('DECODE_TIMEOUT', {
    message: 'the deadline passed before the answer was complete',
    pool_id: pool,
    tokens_out: tokensAfter(last),
  })
}

/** How many tokens a stream holds whose last entry this is. */
export function tokensAfter(last: LogEntry): number {
  const event = parseEntry(last)
  switch (event.event) {
    case 'queued':
      return 0
    case 'started':
      return event.data.next_token
    case 'token':
      return event.data.i + 1
    case 'metrics':
    case 'end':
      return event.data.tokens_out
    case 'error':
      return event.data.tokens_out ?? 0
  }
}

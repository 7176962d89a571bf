import { setTimeout as sleep } from 'node:timers/promises'
import { PoolError } from '../contract/error.ts'
import type { PoolKeys } from '../contract/keys.ts'
import type { JobQueue } from '../queue/job-queue.ts'
import type { RedisConnection } from '../redis/connect.ts'
import type { EventLog } from '../stream/event-log.ts'
import { cancelJob } from '../stream/seal.ts'
import type { CancelRequest } from '../stream/seal.ts'

/** A job to erase. */
export interface ForgetRequest {
  readonly redis: RedisConnection
  readonly keys: PoolKeys
  readonly log: EventLog
  readonly queue: JobQueue
  readonly jobId: string
  readonly retentionMs: number
  /** Called if the job was not over and this call ended it. */
  readonly onSealed?: CancelRequest['onSealed']
}

/**
 * KEYS the job's stream, `deadlines`, batch jobs, `expiry`, the index; ARGV[1] job id. Not a MULTI, which Redis refuses when it is
 * out of memory.
 */
const ERASE = `
redis.call('UNLINK', KEYS[1])
for i = 2, #KEYS do redis.call('ZREM', KEYS[i], ARGV[1]) end`

/** How long a worker may take to let go of a cancelled job: its lock, if it is dead, and a little (ms). */
const LET_GO_MS = 8000
const LOOK_MS = 25

/**
 * Erases a job's prompt, events and place in the queue. It is ended first, and its prompt goes before its events: as
 * long as the sealed stream stands, no worker can begin it anew.
 *
 * @throws {@link PoolError} `UNKNOWN_JOB`; `POOL_UNREADY` when a worker does not let go of it.
 */
export async function forgetJob(request: ForgetRequest): Promise<void> {
  const { redis, keys, queue, jobId } = request
  await cancelJob({ ...request, pool: keys.pool, reason: 'forgotten' })
  const until = performance.now() + LET_GO_MS
  while (!(await queue.remove(jobId))) {
    if (performance.now() > until) {
      throw new PoolError(
        'POOL_UNREADY',
        `job ${jobId} in pool ${keys.pool} is cancelled, but its worker still holds it: forget it again in a moment`,
        { retryAfterMs: 1000 },
      )
    }
    await sleep(LOOK_MS)
  }
  const touched = [keys.events(jobId), keys.deadlines, keys.batchIndex, keys.expiry, ...keys.indexes]
  await redis.eval(ERASE, touched.length, ...touched, jobId)
}

import type { JobStateName } from '../../src/contract/job-states.ts'
import type { Priority } from '../../src/contract/job.ts'
import type { PoolKeys } from '../../src/contract/keys.ts'
import { QUEUED_ID, SEAL_ID, START, entryId } from '../../src/contract/stream-id.ts'
import type { RedisConnection } from '../../src/redis/connect.ts'
import { formatEntry } from '../../src/stream/entry.ts'
import type { LogEntry } from '../../src/stream/entry.ts'
import { createEventLog } from '../../src/stream/event-log.ts'
import { errorSeal } from '../../src/stream/seal.ts'
import { inParallel } from './in-parallel.ts'

/** A job that is in a state since a time (ms since 1970). */
export interface SeededJob {
  readonly jobId: string
  readonly state: JobStateName
  readonly priority: Priority
  readonly since: number
  readonly correlationId?: string | undefined
}

const RETENTION_MS = 3_600_000

/** How long after it entered its state a seeded job has its deadline (ms): a week. */
export const SEEDED_DEADLINE_MS = 604_800_000

/** Jobs that are written at once: a busy machine answers that many within a command's time limit. */
const AT_ONCE = 100

/** Writes the events of jobs as producers and workers do, and then when they entered their states. */
export async function seedJobs(
  redis: RedisConnection,
  keys: PoolKeys,
  jobs: readonly SeededJob[],
): Promise<void> {
  const log = createEventLog(redis, keys)
  await inParallel(jobs.length, AT_ONCE, async (nth) => {
    const job = jobs[nth]
    if (job === undefined) return
    const { jobId, state, since } = job
    const deadlineAt = since + SEEDED_DEADLINE_MS
    const entries = entriesOf(job, deadlineAt)
    await log.write({ jobId, expect: START, entries, deadlineAt, retentionMs: RETENTION_MS })
    await redis.zadd(keys.index(state), 'XX', since, jobId)
  })
}

function entriesOf(
  { jobId, state, since, priority, correlationId }: SeededJob,
  deadlineAt: number,
): LogEntry[] {
  const label = correlationId === undefined ? {} : { correlation_id: correlationId }
  const queued = formatEntry(QUEUED_ID, 'queued', {
    digest: jobId,
    accepted_at: since - 1000,
    deadline_at: deadlineAt,
    queue_position: 0,
    priority,
    ...label,
  })
  const pool = { pool_id: 'p' }
  if (state === 'queued') return [queued]
  if (state === 'cancelled') return [queued, errorSeal('CANCELLED', { message: 'cancelled', ...pool })]
  const started = formatEntry(entryId(since * 1000, 1), 'started', {
    attempt: 1,
    engine: 'tgi',
    engine_version: '3.3.7',
    ...pool,
    replica_id: 'r1',
    model_id: 'm',
    seed: 1,
    queue_time_ms: 1000,
    determinism: 'best_effort',
    next_token: 0,
  })
  if (state === 'started') return [queued, started]
  if (state === 'failed')
    return [queued, started, errorSeal('WORKER_RESET', { message: 'its replica failed', ...pool })]
  const end = formatEntry(SEAL_ID, 'end', {
    finish_reason: 'length',
    tokens_out: 0,
    queue_time_ms: 1000,
    first_token_ms: 1000,
    seed: 1,
    text: '',
    attempts: 1,
    exact: true,
  })
  return [queued, started, end]
}

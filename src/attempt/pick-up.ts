import { PoolError } from '../contract/error.ts'
import { parseOrThrow } from '../contract/format-issues.ts'
import { jobIdSchema, seedOf } from '../contract/ids.ts'
import { parseJob } from '../contract/job.ts'
import type { Job } from '../contract/job.ts'
import { budgetOf } from '../contract/limits.ts'
import type { PoolConfig } from '../contract/pool-config.ts'
import type { Versions } from '../contract/replica-entry.ts'
import { entryId } from '../contract/stream-id.ts'
import { deadlineSeal } from '../stream/deadline-sweep.ts'
import { formatEntry } from '../stream/entry.ts'
import type { LogEntry } from '../stream/entry.ts'
import { lastId } from '../stream/event-log.ts'
import type { EventLog } from '../stream/event-log.ts'
import { errorSeal } from '../stream/seal.ts'
import { viewLog } from './log-view.ts'
import type { LogView } from './log-view.ts'

/** What picking up a job takes. */
export interface PickUpRequest {
  readonly log: Pick<EventLog, 'read' | 'write'>
  readonly jobId: string
  /** What the producer wrote; nobody has checked it. */
  readonly body: unknown
  readonly handBacks: number
  readonly pool: string
  readonly replicaId: string
  readonly versions: Versions
  readonly config: PoolConfig
}

/** An attempt that has begun: its `started` is in the stream. */
export interface PickedUp {
  readonly job: Job
  readonly epoch: number
  readonly attempt: number
  readonly seed: number
  readonly maxNewTokens: number
  /** ms since 1970, by Redis's clock, like all times here. */
  readonly acceptedAt: number
  readonly startedAt: number
  readonly firstStartedAt: number
  readonly deadlineAt: number
  /** Every entry up to and including `started`. */
  readonly history: readonly LogEntry[]
}

/**
 * Reads a job's stream, decides what is left to do, and either begins an attempt or ends the job. Another writer in
 * between (a cancel, a sweep) makes it look again.
 *
 * @returns the attempt, or undefined when the job is over.
 */
export async function pickUp(request: PickUpRequest): Promise<PickedUp | undefined> {
  const { log, jobId } = request
  for (;;) {
    const { entries, nowMs } = await log.read(jobId)
    const view = viewLog(entries)
    if (view.sealed) return undefined
    const decision = decide(request, entries, view, nowMs)
    const { written } = await log.write({
      jobId,
      expect: lastId(entries),
      entries: [decision.entry],
      deadlineAt: decision.deadlineAt,
      retentionMs: request.config.retention_ms,
    })
    if (!written) continue
    return decision.attempt
  }
}

interface Decision {
  readonly entry: LogEntry
  readonly deadlineAt: number
  readonly attempt: PickedUp | undefined
}

function decide(
  request: PickUpRequest,
  entries: readonly LogEntry[],
  view: LogView,
  nowMs: number,
): Decision {
  const { config, pool, replicaId } = request
  // Without `queued`, a plain BullMQ producer's job: its time counts from its first pick-up, by Redis's clock.
  const acceptedAt = view.queued?.accepted_at ?? view.firstStartedAt ?? nowMs
  const end = (entry: LogEntry, deadlineAt = nowMs): Decision => ({ entry, deadlineAt, attempt: undefined })
  const details = { pool_id: pool, replica_id: replicaId, tokens_out: view.tokens }

  let job: Job
  let budget: { deadlineMs: number; maxNewTokens: number }
  try {
    parseOrThrow(jobIdSchema, request.jobId, 'job id')
    job = parseJob(request.body)
    budget = budgetOf(job, config)
  } catch (error) {
    if (!(error instanceof PoolError)) throw error
    return end(errorSeal('INVALID_PARAMS', { ...details, message: error.message }))
  }

  const deadlineAt = view.queued?.deadline_at ?? acceptedAt + budget.deadlineMs
  const last = entries.at(-1)
  if (last !== undefined && nowMs >= deadlineAt) return end(deadlineSeal(last, pool))
  if (view.tokens > 0) {
    const message = 'the attempt that wrote these tokens was interrupted'
    return end(errorSeal('WORKER_RESET', { ...details, message, attempt: view.attempts }))
  }
  if (view.attempts - request.handBacks >= config.max_attempts) {
    const message = `${config.max_attempts} attempts were interrupted before their first token`
    return end(errorSeal('REPLICA_EXHAUSTED', { ...details, message, attempt: view.attempts }))
  }
  return begin(request, {
    job,
    entries,
    view,
    nowMs,
    acceptedAt,
    deadlineAt,
    maxNewTokens: budget.maxNewTokens,
  })
}

interface Beginning {
  readonly job: Job
  readonly entries: readonly LogEntry[]
  readonly view: LogView
  readonly nowMs: number
  readonly acceptedAt: number
  readonly deadlineAt: number
  readonly maxNewTokens: number
}

function begin(request: PickUpRequest, beginning: Beginning): Decision {
  const { versions, jobId } = request
  const { job, entries, view, nowMs, acceptedAt, deadlineAt, maxNewTokens } = beginning
  // Redis's clock and not a counter: it never comes again, whatever queue, failover or re-added id is behind it.
  const epoch = Math.max(nowMs, view.lastEpoch + 1)
  const attempt = view.attempts + 1
  const seed = job.parameters.seed ?? seedOf(jobId)
  const entry = formatEntry(entryId(epoch, 1), 'started', {
    attempt,
    engine: 'tgi',
    engine_version: versions.engine_version,
    pool_id: request.pool,
    replica_id: request.replicaId,
    model_id: versions.model_id,
    seed,
    queue_time_ms: Math.max(0, nowMs - acceptedAt),
    determinism: job.determinism ?? 'best_effort',
    next_token: view.tokens,
    ...(job.correlation_id === undefined ? {} : { correlation_id: job.correlation_id }),
  })
  const firstStartedAt = view.firstStartedAt ?? nowMs
  const history = [...entries, entry]
  return {
    entry,
    deadlineAt,
    attempt: {
      job,
      epoch,
      attempt,
      seed,
      maxNewTokens,
      acceptedAt,
      startedAt: nowMs,
      firstStartedAt,
      deadlineAt,
      history,
    },
  }
}

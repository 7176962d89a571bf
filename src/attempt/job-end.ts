import type { ErrorCode } from '../contract/codes.ts'
import { stateOfError } from '../contract/job-states.ts'
import type { JobStateName } from '../contract/job-states.ts'
import type { Logger } from '../runtime/log.ts'
import { parseEntry } from '../stream/entry.ts'
import type { LogEntry } from '../stream/entry.ts'
import type { EventLog } from '../stream/event-log.ts'
import { viewLog } from './log-view.ts'

/** How a job ended, as far as the process that wrote its terminal event knows. */
export interface JobEnd {
  /** The job. */
  readonly job_id: string
  /** Its pool. */
  readonly pool_id: string
  /** Why it has no answer. Absent if it has one. */
  readonly code?: ErrorCode | undefined
  /** The last cause; never a prompt. */
  readonly reason?: string | undefined
  /** The replica of the last attempt. Absent if it never began. */
  readonly replica_id?: string | undefined
  /** How many attempts began. Absent if the events cannot be read. */
  readonly attempts?: number | undefined
  /** Tokens of the prompt, if the job was answered and the replica reported them. */
  readonly tokens_in?: number | undefined
  /** Tokens published. */
  readonly tokens_out?: number | undefined
  /** From acceptance to the first `started` (ms). */
  readonly queue_time_ms?: number | undefined
  /** From acceptance to the first token (ms). */
  readonly first_token_ms?: number | undefined
  /** From the request of the attempt that published the first token to that token (ms). */
  readonly ttft_ms?: number | undefined
  /** From the first token to the last (ms). */
  readonly decode_time_ms?: number | undefined
  /** From acceptance to the terminal event (ms). */
  readonly end_to_end_ms?: number | undefined
  /** The job's own, if an attempt began. */
  readonly correlation_id?: string | undefined
}

/** Called once for each job that this process ended itself. Must not throw. */
export type JobEndListener = (end: JobEnd) => void

const MESSAGES = {
  ended: 'job ended',
  failed: 'job failed',
  cancelled: 'job cancelled',
} as const satisfies Partial<Record<JobStateName, string>>

/**
 * Logs a job's end: `info` for an answer or a cancel, `warn` for every other error. Only the process whose write ended the job
 * logs it, so there is one line a job.
 */
export function logJobEnd(logger: Logger, end: JobEnd): void {
  const state = end.code === undefined ? 'ended' : stateOfError(end.code)
  // The reason for a cancel is the caller's own text.
  const facts = state === 'cancelled' ? { ...end, reason: undefined } : end
  logger[state === 'failed' ? 'warn' : 'info'](facts, MESSAGES[state])
}

/** Reads how a job ended that this process has just sealed; if its events cannot be read, reports the seal alone. */
export async function readEnd(
  log: Pick<EventLog, 'readOutline'>,
  pool: string,
  jobId: string,
  seal: LogEntry,
): Promise<JobEnd> {
  try {
    const { entries, nowMs } = await log.readOutline(jobId)
    if (entries.at(-1)?.id === seal.id) return describeEnd(jobId, pool, entries, nowMs)
  } catch {
    // The events are not ours, or Redis is unreachable; the end still gets its line.
  }
  return { ...describeEnd(jobId, pool, [seal], 0), attempts: undefined }
}

/**
 * Reads from a sealed stream, or its outline, how its job ended.
 *
 * @param nowMs about when it was sealed (ms since 1970, Redis's clock).
 */
export function describeEnd(
  jobId: string,
  pool: string,
  entries: readonly LogEntry[],
  nowMs: number,
): JobEnd {
  const seal = entries.at(-1)
  const terminal = seal === undefined ? undefined : parseEntry(seal)
  if (terminal?.event !== 'end' && terminal?.event !== 'error') throw new Error(`job ${jobId} is not over`)
  const view = viewLog(entries)
  const acceptedAt = view.queued?.accepted_at ?? view.firstStartedAt
  const since = (at: number | undefined) =>
    at === undefined || acceptedAt === undefined ? undefined : Math.max(0, at - acceptedAt)
  const begun = entries.flatMap((entry) => {
    const event = entry.event === 'started' ? parseEntry(entry) : undefined
    return event?.event === 'started' ? [event.data] : []
  })
  const firstToken = entries.find(({ event }) => event === 'token')
  const token = firstToken === undefined ? undefined : parseEntry(firstToken)
  const times = token?.event === 'token' ? token.data : undefined
  const last = begun.at(-1)
  return {
    job_id: jobId,
    pool_id: pool,
    ...(terminal.event === 'error' ? { code: terminal.data.code, reason: terminal.data.message } : {}),
    replica_id: last?.replica_id,
    attempts: last?.attempt ?? 0,
    tokens_in: terminal.event === 'end' ? terminal.data.tokens_in : undefined,
    tokens_out: terminal.data.tokens_out ?? view.tokens,
    queue_time_ms: begun[0]?.queue_time_ms,
    first_token_ms: times?.first_token_ms,
    ttft_ms: times?.ttft_ms,
    decode_time_ms: terminal.event === 'end' ? terminal.data.decode_time_ms : undefined,
    end_to_end_ms: since(nowMs),
    correlation_id: last?.correlation_id,
  }
}

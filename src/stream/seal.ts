import { CODES } from '../contract/codes.ts'
import type { ErrorCode } from '../contract/codes.ts'
import { PoolError } from '../contract/error.ts'
import type { EventData } from '../contract/event.ts'
import { SEAL_ID, START } from '../contract/stream-id.ts'
import { formatEntry } from './entry.ts'
import type { LogEntry } from './entry.ts'
import { ANYTHING } from './event-log.ts'
import type { EventLog } from './event-log.ts'

/** What an `error` event says beyond its code. */
export type ErrorDetails = Omit<EventData['error'], 'code' | 'retriable' | 'engine'>

/** The `data` of an `error` event. */
export function errorData(code: ErrorCode, details: ErrorDetails): EventData['error'] {
  return { code, retriable: CODES[code].retriable, engine: 'tgi', ...details }
}

/** The terminal `error` entry. */
export function errorSeal(code: ErrorCode, details: ErrorDetails): LogEntry {
  return formatEntry(SEAL_ID, 'error', errorData(code, details))
}

/** What the stream's room must know of the queue; BullMQ is behind it. */
export interface QueuePort {
  /** Whether it holds the job unfinished. */
  holds(jobId: string): Promise<boolean>
  /** Removes the job if it waits; an active one is its worker's business. */
  removeWaiting(jobId: string): Promise<void>
}

/** A cancel. */
export interface CancelRequest {
  readonly log: EventLog
  readonly queue: QueuePort
  readonly pool: string
  readonly jobId: string
  readonly reason?: string | undefined
  readonly retentionMs: number
  /** Called if this call ended the job. */
  readonly onSealed?: ((seal: LogEntry) => void) | undefined
}

/** `cancelled`: this call ended the job; `already_over`: it had ended before. */
export type CancelOutcome = 'cancelled' | 'already_over'

/**
 * Cancels a job, whatever its state. When this returns, no token will ever be appended;
 * the worker that runs it is woken and closes its upstream socket.
 *
 * @throws {@link PoolError} `UNKNOWN_JOB`, and nothing is written.
 */
export async function cancelJob(request: CancelRequest): Promise<CancelOutcome> {
  const { log, queue, pool, jobId } = request
  // The code beside it says that it was cancelled.
  const message = oneLine(request.reason ?? '') || 'on request'
  const seal = errorSeal('CANCELLED', { message, pool_id: pool })
  const write = {
    jobId,
    entries: [seal],
    deadlineAt: 0,
    retentionMs: request.retentionMs,
  }
  let result = await log.write({ ...write, expect: ANYTHING })
  // A plain BullMQ producer writes no events: the queue alone knows its waiting job. Its first worker may write
  // `started`, and even finish, between our looks; hence the last one.
  if (!result.written && result.last === START) {
    if (await queue.holds(jobId)) result = await log.write({ ...write, expect: START })
    if (!result.written && result.last !== SEAL_ID) result = await log.write({ ...write, expect: ANYTHING })
  }
  if (!result.written && result.last !== SEAL_ID) {
    throw new PoolError('UNKNOWN_JOB', `no job ${jobId} in pool ${pool}, or its events have expired`)
  }
  if (result.written) request.onSealed?.(seal)
  await queue.removeWaiting(jobId)
  return result.written ? 'cancelled' : 'already_over'
}

function oneLine(text: string): string {
  return text
    .replace(/[\p{Cc}\p{Cf}]+/gu, ' ')
    .trim()
    .slice(0, 200)
}

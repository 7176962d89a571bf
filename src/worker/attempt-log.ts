import { logJobEnd } from '../attempt/job-end.ts'
import type { AttemptReport } from '../attempt/run-attempt.ts'
import type { Logger } from '../runtime/log.ts'

/** Ids of the attempt. */
interface AttemptFacts {
  readonly job_id: string
  readonly pool_id: string
  readonly replica_id: string
}

/**
 * Logs the end of an attempt, without prompt or text:
 *
 * | line | level | when |
 * |---|---|---|
 * | `attempt failed` | warn | it failed, by a fault of the replica or of ours |
 * | `attempt stopped` | info; debug if it never began | it was interrupted, or the job belongs to another replica or is over |
 * | `job ended`, `job failed` | info, warn | it wrote the terminal event ({@link logJobEnd}) |
 */
export function logAttempt(logger: Logger, job: AttemptFacts, report: AttemptReport): void {
  const { attempt, fault, sealed, message, correlationId: correlation_id, tokensOut: tokens_out } = report
  const facts = { ...job, attempt, outcome: report.outcome, tokens_out, correlation_id }
  if (fault !== undefined) logger.warn({ ...facts, reason: fault, next: nextOf(report) }, 'attempt failed')
  else if (!sealed) {
    // An attempt that never began did nothing, and a job may be picked up several times a second.
    const level = attempt === undefined ? 'debug' : 'info'
    logger[level]({ ...facts, reason: message, next: nextOf(report) }, 'attempt stopped')
  }
  if (!sealed) return
  logJobEnd(logger, {
    ...job,
    code: report.code,
    reason: report.code === undefined ? undefined : message,
    attempts: attempt,
    tokens_in: report.tokensIn,
    tokens_out,
    queue_time_ms: report.queueTimeMs,
    first_token_ms: report.firstTokenMs,
    ttft_ms: report.ttftMs,
    decode_time_ms: report.decodeTimeMs,
    end_to_end_ms: report.endToEndMs,
    correlation_id,
  })
}

/** What happens next: the job is over, or goes back to the queue, at once or after a delay. */
function nextOf({ disposition }: AttemptReport): string {
  if (disposition.kind !== 'back') return 'over'
  return disposition.delayMs === 0 ? 'retry' : `retry in ${disposition.delayMs} ms`
}

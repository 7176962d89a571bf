import type { AttemptReport } from '../attempt/run-attempt.ts'
import type { Logger } from '../runtime/log.ts'

/** One line for each attempt that ended; no prompt, no text. */
export function logAttempt(
  logger: Logger,
  job: { readonly job_id: string; readonly pool_id: string; readonly replica_id: string },
  report: AttemptReport,
): void {
  const level = report.outcome === 'INTERNAL' || report.outcome === 'WORKER_RESET' ? 'warn' : 'info'
  logger[level](
    {
      ...job,
      disposition: report.disposition.kind,
      outcome: report.outcome,
      attempt: report.attempt,
      tokens_out: report.tokensOut,
      queue_time_ms: report.queueTimeMs,
      first_token_ms: report.firstTokenMs,
      decode_time_ms: report.decodeTimeMs,
      correlation_id: report.correlationId,
      reason: report.message,
    },
    'attempt ended',
  )
}

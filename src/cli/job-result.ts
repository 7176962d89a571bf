import { answerFields, errorFields } from '../batch/record.ts'
import type { AnswerFields, ErrorFields } from '../batch/record.ts'
import type { PoolClient } from '../client/pool-client.ts'
import { PoolError } from '../contract/error.ts'
import type { EventData, TerminalEvent } from '../contract/event.ts'
import { stateOfError } from '../contract/job-states.ts'
import type { JobStateName } from '../contract/job-states.ts'
import { EXIT } from './exit.ts'
import { errLine } from './print.ts'

/** What `results` and `wait` print of one job. */
export interface JobResultLine extends Partial<AnswerFields>, Partial<ErrorFields> {
  readonly job_id: string
  /** Absent for an unknown job. */
  readonly state?: JobStateName
}

/** A job as it is now. */
export async function readResult(
  pool: PoolClient,
  jobId: string,
  signal: AbortSignal,
): Promise<JobResultLine & { readonly lastId?: string | undefined }> {
  try {
    const { state, end, error, last_id: lastId } = await pool.job(jobId, { signal })
    if (end !== undefined) return ofEnd(jobId, end)
    if (error !== undefined) return ofError(jobId, error)
    return { job_id: jobId, state, lastId: lastId ?? undefined }
  } catch (error) {
    return ofUnknown(jobId, error)
  }
}

/** A job that has just ended. */
export function ofTerminal(jobId: string, { event, data }: TerminalEvent): JobResultLine {
  return event === 'end' ? ofEnd(jobId, data) : ofError(jobId, data)
}

function ofEnd(jobId: string, end: EventData['end']): JobResultLine {
  return { job_id: jobId, state: 'ended', ...answerFields(end) }
}

function ofError(jobId: string, error: EventData['error']): JobResultLine {
  return { job_id: jobId, state: stateOfError(error.code), ...errorFields(error) }
}

/** A job that is unknown or has expired. @throws any other error. */
export function ofUnknown(jobId: string, error: unknown): JobResultLine {
  if (!(error instanceof PoolError) || !(error.kind === 'UNKNOWN_JOB' || error.kind === 'GONE')) throw error
  const { kind: code, message, retriable } = error
  return { job_id: jobId, error: { code, message, retriable } }
}

/** Counts of what was printed. */
export interface ResultSums {
  count(result: JobResultLine): void
  /** The command's exit status. */
  readonly status: number
  /** Prints the counts on stderr, in one line. */
  print(json: boolean): void
}

/** Starts at zero. */
export function startSums(): ResultSums {
  const sums = { ended: 0, failed: 0, cancelled: 0, not_over: 0, unknown: 0 }
  return {
    count({ state }) {
      if (state === undefined) sums.unknown += 1
      else if (state === 'queued' || state === 'started') sums.not_over += 1
      else sums[state] += 1
    },
    get status() {
      if (sums.unknown > 0 || sums.not_over > 0) return EXIT.fault
      return sums.failed > 0 || sums.cancelled > 0 ? EXIT.jobFailed : EXIT.success
    },
    print(json) {
      if (json) {
        errLine(JSON.stringify({ summary: sums }))
        return
      }
      const parts = Object.entries(sums).filter(([, count]) => count > 0)
      errLine(
        `tgi-pool: ${parts.map(([name, count]) => `${count} ${name.replace('_', ' ')}`).join(', ') || 'no jobs'}`,
      )
    },
  }
}

/** The end of the help text of both verbs. */
export const RESULT_HELP = `
A line is {"job_id","state":"ended","text","finish_reason","usage":{"tokens_in","tokens_out"}} or, without an answer,
{"job_id","state":"failed"|"cancelled","error":{"code","message","retriable"}}. An unknown job, or one whose events have expired, has
an error and no state.
Exit status: 0 every job has its answer, 3 some ended in error, 1 some are unknown or have not ended, 2 bad usage, 130 interrupted.`

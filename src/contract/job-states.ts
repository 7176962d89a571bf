/**
 * The states of a job, in the order of its life. The last three are final: `ended` has its answer, `failed` is any `error`
 * except a cancel.
 */
export const JOB_STATES = ['queued', 'started', 'ended', 'failed', 'cancelled'] as const

/** The state of a job. */
export type JobStateName = (typeof JOB_STATES)[number]

/** The states of a job that is over. */
export const OVER_STATES = ['ended', 'failed', 'cancelled'] as const satisfies readonly JobStateName[]

/** The state of a job whose last event is an `error` with this code. */
export function stateOfError(code: string): 'failed' | 'cancelled' {
  return code === 'CANCELLED' ? 'cancelled' : 'failed'
}

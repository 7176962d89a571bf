import { PoolError } from '../contract/error.ts'
import { parseOrThrow } from '../contract/format-issues.ts'
import { jobIdSchema, seedOf } from '../contract/ids.ts'
import { parseJob } from '../contract/job.ts'
import type { Job } from '../contract/job.ts'
import { budgetOf } from '../contract/limits.ts'
import type { JobBudget } from '../contract/limits.ts'
import type { PoolConfig } from '../contract/pool-config.ts'
import { UnreadableBody } from '../queue/job-body.ts'

/** A job that may run, as far as can be said without its stream. */
export interface GivenJob {
  readonly kind: 'job'
  readonly job: Job
  readonly budget: JobBudget
  /** Its own, or the one that its id stands for. */
  readonly seed: number
}

/** What no pool takes, or this one does not. */
export interface RefusedJob {
  readonly kind: 'refused'
  readonly message: string
}

/** Holds what a producer wrote against the contract and the pool's limits. */
export function readGivenJob(jobId: string, body: unknown, config: PoolConfig): GivenJob | RefusedJob {
  try {
    if (body instanceof UnreadableBody) return { kind: 'refused', message: body.message }
    parseOrThrow(jobIdSchema, jobId, 'job id')
    const job = parseJob(body)
    const budget = budgetOf(job, config)
    return { kind: 'job', job, budget, seed: job.parameters.seed ?? seedOf(jobId) }
  } catch (error) {
    if (!(error instanceof PoolError)) throw error
    return { kind: 'refused', message: error.message }
  }
}

import type { PoolClient } from '../client/pool-client.ts'
import { MAX_PAGE } from '../contract/limits.ts'
import type { JobSummary } from '../contract/wire-types.ts'
import { PoolError } from '../contract/error.ts'
import { jsonLine } from '../contract/json-line.ts'
import { ask, canAsk } from './ask.ts'
import { cancelEach } from './cancel-each.ts'
import { EXIT, Exit } from './exit.ts'
import { filterOf } from './job-filter.ts'
import type { FilterFlags } from './job-filter.ts'
import { errLine, outLine } from './print.ts'

/** Options that choose jobs to cancel. */
export interface MatchFlags extends FilterFlags<'queued' | 'started'> {
  readonly all?: boolean
  readonly dryRun?: boolean
  readonly yes?: boolean
  readonly reason?: string
  readonly json?: boolean
}

/** Cancels the matching jobs after confirmation, or with `--dry-run` only prints them. */
export async function cancelMatching(
  pool: PoolClient,
  flags: MatchFlags,
  signal: AbortSignal,
): Promise<void> {
  const onMatch = flags.dryRun === true ? (job: JobSummary) => printMatch(job, flags) : undefined
  const ids = await findJobs(pool, flags, signal, onMatch)
  const jobs = `${ids.size} ${ids.size === 1 ? 'job' : 'jobs'}`
  if (flags.dryRun === true || ids.size === 0) {
    const would = flags.dryRun === true ? `${jobs} would be cancelled` : 'no jobs match'
    errLine(flags.json === true ? JSON.stringify({ summary: { matched: ids.size } }) : `tgi-pool: ${would}`)
    return
  }
  if (flags.yes !== true) await confirm(jobs, pool.pool, signal)
  const { reason, json } = flags
  await cancelEach(pool, each(ids), { reason, json, onlyQueued: flags.state === 'queued' }, signal)
}

async function* each(ids: ReadonlySet<string>): AsyncGenerator<string> {
  yield* ids
}

function printMatch({ job_id: jobId, state, priority, since }: JobSummary, { json }: MatchFlags): void {
  outLine(
    json === true
      ? jsonLine({ job_id: jobId, state, priority, since, outcome: 'would_cancel' })
      : `job ${jobId} (${state}, ${priority}) would be cancelled`,
  )
}

/** The ids of all matching jobs, collected before the first is cancelled. */
async function findJobs(
  pool: PoolClient,
  flags: MatchFlags,
  signal: AbortSignal,
  onMatch?: (job: JobSummary) => void,
): Promise<ReadonlySet<string>> {
  const ids = new Set<string>()
  // Queued first, so that a job that starts meanwhile is found at least once.
  for (const state of flags.state === undefined ? (['queued', 'started'] as const) : [flags.state]) {
    let cursor: string | undefined
    do {
      const page = await pool.jobs({
        ...filterOf(flags),
        state,
        limit: MAX_PAGE,
        cursor,
        signal,
      })
      for (const job of page.jobs) {
        if (!ids.has(job.job_id)) onMatch?.(job)
        ids.add(job.job_id)
      }
      cursor = page.next_cursor
    } while (cursor !== undefined)
  }
  return ids
}

async function confirm(jobs: string, pool: string, signal: AbortSignal): Promise<void> {
  if (!canAsk()) {
    throw new PoolError(
      'INVALID_PARAMS',
      `this would cancel ${jobs} of pool ${pool}; confirm with --yes, or list them with --dry-run`,
    )
  }
  const answer = await ask(`Cancel ${jobs} of pool ${pool}? (y/N)`, signal)
  if (/^y(es)?$/i.test(answer)) return
  errLine('tgi-pool: nothing was cancelled')
  throw new Exit(EXIT.fault)
}

import { Option } from 'commander'
import type { Command } from 'commander'
import type { PoolClient } from '../client/pool-client.ts'
import { MAX_PAGE } from '../contract/limits.ts'
import { JOB_STATES, OVER_STATES } from '../contract/job-states.ts'
import type { JobSummary } from '../contract/wire-types.ts'
import { jsonLine } from '../contract/json-line.ts'
import { formatAge } from './duration.ts'
import { withInterrupt } from './interrupt.ts'
import { filterOf, withJobFilter } from './job-filter.ts'
import type { FilterFlags } from './job-filter.ts'
import { integer, usingPool, withPool } from './options.ts'
import type { PoolFlags } from './options.ts'
import { errLine, out, outLine } from './print.ts'
import { createTable } from './table.ts'

interface JobsFlags extends PoolFlags, FilterFlags {
  readonly limit?: number
  readonly all?: boolean
  readonly json?: boolean
}

const DEFAULT_LIMIT = 100

/** `tgi-pool jobs`. */
export function addJobs(program: Command): void {
  const command = program
    .command('jobs')
    .description(
      "List a pool's jobs, most recent state change first; finished jobs until their events expire",
    )
  withJobFilter(command, { states: JOB_STATES, jobs: 'only jobs' })
    .option('--limit <n>', `maximum number of jobs to list (default: ${DEFAULT_LIMIT})`, integer(1))
    .addOption(new Option('--all', 'list every job').conflicts('limit'))
    .option('--json', 'one JSON line per job')
  withPool(command).action((flags: JobsFlags) =>
    usingPool(flags, (pool) => withInterrupt((signal) => listJobs(pool, flags, signal))),
  )
}

async function listJobs(pool: PoolClient, flags: JobsFlags, signal: AbortSignal): Promise<void> {
  const print = flags.json === true ? printJson : createPrinter()
  const limit = flags.all === true ? Infinity : (flags.limit ?? DEFAULT_LIMIT)
  let listed = 0
  let cursor: string | undefined
  do {
    const page = await pool.jobs({
      ...filterOf(flags),
      limit: Math.min(limit - listed, MAX_PAGE),
      cursor,
      signal,
    })
    if (page.jobs.length > 0) print(page.jobs)
    listed += page.jobs.length
    cursor = page.next_cursor
  } while (cursor !== undefined && listed < limit)
  // Only now: where events have expired, a page may be empty and the next one may not.
  if (listed === 0 && flags.json !== true) outLine('no jobs')
  if (cursor === undefined || flags.limit !== undefined) return
  errLine(`tgi-pool: only the latest ${DEFAULT_LIMIT} jobs are listed; use --limit N or --all for more`)
}

function printJson(jobs: readonly JobSummary[]): void {
  for (const job of jobs) outLine(jsonLine(job))
}

function createPrinter(): (jobs: readonly JobSummary[]) => void {
  const format = createTable([
    'JOB',
    'STATE',
    'FOR',
    'PRIORITY',
    'ACCEPTED',
    'DEADLINE',
    'CORRELATION',
    'CODE',
  ])
  return (jobs) => out(format(jobs.map((job) => cellsOf(job, Date.now()))))
}

function cellsOf(job: JobSummary, nowMs: number): string[] {
  const { accepted_at: acceptedAt, deadline_at: deadlineAt } = job
  return [
    job.job_id,
    job.state,
    formatAge(nowMs - job.since),
    job.priority,
    acceptedAt === undefined ? '–' : `${formatAge(nowMs - acceptedAt)} ago`,
    deadlineAt === undefined || isOver(job) ? '–' : formatDeadline(deadlineAt - nowMs),
    job.correlation_id ?? '–',
    job.code ?? '',
  ]
}

function formatDeadline(ms: number): string {
  return ms > 0 ? `in ${formatAge(ms)}` : 'passed'
}

function isOver({ state }: JobSummary): boolean {
  return OVER_STATES.some((over) => over === state)
}

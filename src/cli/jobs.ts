import { Option } from 'commander'
import type { Command } from 'commander'
import type { PoolClient } from '../client/pool-client.ts'
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
/** The most jobs that one call of the library returns. */
const PAGE = 1000

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
  let left = flags.all === true ? Infinity : (flags.limit ?? DEFAULT_LIMIT)
  let cursor: string | undefined
  do {
    const page = await pool.jobs({ ...filterOf(flags), limit: Math.min(left, PAGE), cursor, signal })
    print(page.jobs)
    left -= page.jobs.length
    cursor = page.next_cursor
  } while (cursor !== undefined && left > 0)
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
  let isFirst = true
  return (jobs) => {
    if (jobs.length > 0) out(format(jobs.map((job) => cellsOf(job, Date.now()))))
    else if (isFirst) outLine('no jobs')
    isFirst = false
  }
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

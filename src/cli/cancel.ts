import type { Command } from 'commander'
import type { PoolClient } from '../client/pool-client.ts'
import { PoolError } from '../contract/error.ts'
import { jsonLine } from '../contract/json-line.ts'
import { cancelMatching } from './cancel-matching.ts'
import type { MatchFlags } from './cancel-matching.ts'
import { cancelEach } from './cancel-each.ts'
import { EXIT, Exit } from './exit.ts'
import { withInterrupt } from './interrupt.ts'
import { withJobFilter } from './job-filter.ts'
import { checkIds, idsOf, withIds } from './job-ids.ts'
import type { IdFlags } from './job-ids.ts'
import { usingPool, withPool } from './options.ts'
import type { PoolFlags } from './options.ts'
import { outLine } from './print.ts'

interface CancelFlags extends PoolFlags, IdFlags, MatchFlags {
  readonly reason?: string
  readonly json?: boolean
}

/** `tgi-pool cancel`. */
export function addCancel(program: Command): void {
  const command = program
    .command('cancel')
    .description('Cancel queued or running jobs, by id or by filter; no token follows after this returns')
  withJobFilter(withIds(command), { states: ['queued', 'started'], jobs: 'all jobs' })
    .option('--all', 'all queued and running jobs')
    .option('--dry-run', 'with a filter: only print the jobs that would be cancelled')
    .option('--yes', 'with a filter: cancel without asking')
    .option('--reason <text>', "reason in the jobs' error events")
    .option('--json', 'outcomes as JSON')
    .addHelpText(
      'after',
      `
Filters can be combined, and match queued and running jobs. On a terminal, the command says how many jobs match and asks for confirmation;
elsewhere it needs --yes. Jobs that end or start meanwhile are counted separately.
Exit status: 0 success, 1 a job is unknown or you declined, 2 bad usage, 130 interrupted.`,
    )
  withPool(command).action(async (jobs: string[], flags: CancelFlags) => {
    if (checkChoice(jobs, flags) === 'filter') {
      await usingPool(flags, (pool) => withInterrupt((signal) => cancelMatching(pool, flags, signal)))
      return
    }
    const [only, ...others] = jobs
    const unknown = await usingPool(flags, async (pool) => {
      if (only !== undefined && others.length === 0) return cancelOne(pool, only, flags)
      return withInterrupt((signal) => cancelEach(pool, idsOf(jobs, flags, signal), flags, signal))
    })
    if (unknown > 0) throw new Exit(EXIT.fault)
  })
}

/** Whether jobs are chosen by id or by filter. @throws `INVALID_PARAMS` for both, neither, or `--all` with a filter. */
function checkChoice(jobs: readonly string[], flags: CancelFlags): 'ids' | 'filter' {
  const { state, priority, olderThan, newerThan, all, dryRun, yes, file } = flags
  const filters = Object.entries({
    '--state': state,
    '--priority': priority,
    '--older-than': olderThan,
    '--newer-than': newerThan,
  }).flatMap(([flag, value]) => (value === undefined ? [] : [flag]))
  const hasIds = jobs.length > 0 || file !== undefined
  const wide = [...filters, ...(all === true ? ['--all'] : [])]
  if (hasIds) {
    const extra = [...wide, ...(dryRun === true ? ['--dry-run'] : []), ...(yes === true ? ['--yes'] : [])]
    if (extra.length > 0)
      throw new PoolError('INVALID_PARAMS', `expected job ids or a filter, got ids and ${extra.join(', ')}`)
    checkIds(jobs, file !== undefined)
    return 'ids'
  }
  if (all === true && filters.length > 0)
    throw new PoolError('INVALID_PARAMS', `expected --all or a filter, got --all and ${filters.join(', ')}`)
  if (wide.length === 0)
    throw new PoolError(
      'INVALID_PARAMS',
      'expected job ids, --file or a filter (--state, --priority, --older-than, --newer-than), got none; --all cancels every job',
    )
  return 'filter'
}

async function cancelOne(
  pool: PoolClient,
  jobId: string,
  { reason, json }: Pick<CancelFlags, 'reason' | 'json'>,
): Promise<0> {
  const outcome = await pool.cancel(jobId, { reason })
  const text = outcome === 'cancelled' ? 'cancelled' : 'had already ended'
  outLine(json === true ? jsonLine({ job_id: jobId, outcome }) : `job ${jobId} ${text}`)
  return 0
}

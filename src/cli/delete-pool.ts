import { Option } from 'commander'
import type { Command } from 'commander'
import { jsonLine } from '../contract/json-line.ts'
import type { PoolContents } from '../client/delete-pool.ts'
import { PoolError } from '../contract/error.ts'
import { ask, canAsk } from './ask.ts'
import { EXIT, Exit } from './exit.ts'
import { withInterrupt } from './interrupt.ts'
import { usingPool, withRedis } from './options.ts'
import type { RedisFlags } from './options.ts'
import { errLine, outLine } from './print.ts'

interface DeleteFlags extends RedisFlags {
  readonly pool?: string
  readonly force?: boolean
  readonly yes?: boolean
  readonly confirm?: string
  readonly json?: boolean
}

/** `tgi-pool pool delete`. */
export function addDeletePool(pool: Command): void {
  const command = pool
    .command('delete')
    .description(
      'Delete a pool: cancel unfinished jobs, then remove its jobs, results, settings and counters for good',
    )
    .argument('[pool]', 'the pool')
    .addOption(new Option('--pool <pool>', 'the pool, instead of the argument').env('TGI_POOL'))
    .option('--yes', 'delete without asking, even if jobs are queued or running')
    .option('--force', "delete even if workers serve the pool, and stop them; asks for the pool's name")
    .option('--confirm <pool>', "the pool's name again, instead of typing it on a terminal")
    .option('--json', 'outcome as JSON')
  withRedis(command)
    .addHelpText(
      'after',
      `
Without --force, a pool is not deleted while a worker holds the lease of a replica (exit status 1). If jobs are queued or running, the
command asks for the pool's name on a terminal; elsewhere it needs --yes or --confirm (otherwise exit status 2). --force always asks, or
needs --confirm: workers close their requests, exit with status 1, and refuse to start until pool create makes a new pool.
This cannot be undone. If it is interrupted, the pool stays closed; run the same command again to resume.`,
    )
    .action(async (argument: string | undefined, flags: DeleteFlags) => {
      const name = nameOf(argument, flags, command.getOptionValueSource('pool') === 'cli')
      await deletePool(name, flags)
      outLine(flags.json === true ? jsonLine({ pool_id: name, outcome: 'deleted' }) : `pool ${name} deleted`)
    })
}

function nameOf(argument: string | undefined, { pool }: DeleteFlags, isTyped: boolean): string {
  if (argument !== undefined && isTyped && pool !== argument) {
    throw new PoolError('INVALID_PARAMS', `expected one pool, got ${argument} and --pool ${pool}`)
  }
  const name = argument ?? pool
  if (name === undefined)
    throw new PoolError(
      'INVALID_PARAMS',
      'expected the name of a pool, got none, e.g. tgi-pool pool delete main',
    )
  return name
}

async function deletePool(name: string, flags: DeleteFlags): Promise<void> {
  const { force = false, confirm: typed } = flags
  if (typed !== undefined && typed !== name) {
    throw new PoolError('INVALID_PARAMS', `--confirm: expected ${name}, got ${JSON.stringify(typed)}`)
  }
  let isConfirmed = false
  await usingPool({ ...flags, pool: name }, (pool) =>
    withInterrupt(
      (signal) =>
        pool.delete({
          force,
          signal,
          async confirm(contents) {
            await confirmDelete(name, contents, flags, signal)
            isConfirmed = true
          },
        }),
      async () => {
        if (isConfirmed)
          errLine(
            `tgi-pool: pool ${name} is closed but not fully deleted; run the same command again to resume`,
          )
      },
    ),
  )
}

async function confirmDelete(
  name: string,
  contents: PoolContents,
  { force, yes, confirm: typed }: DeleteFlags,
  signal: AbortSignal,
): Promise<void> {
  if (typed === name) return
  if (force !== true && (yes === true || contents.unfinishedJobs === 0)) return
  const loss = describeLoss(name, contents)
  if (!canAsk()) {
    const flag = force === true ? `--confirm ${name}` : '--yes'
    throw new PoolError('INVALID_PARAMS', `${loss}; add ${flag} to delete it`)
  }
  errLine(`tgi-pool: ${loss}`)
  if ((await ask(`Type the pool's name to delete it:`, signal)) === name) return
  errLine('tgi-pool: nothing was deleted')
  throw new Exit(EXIT.fault)
}

function describeLoss(name: string, { unfinishedJobs, leasedReplicas }: PoolContents): string {
  const jobs = `${unfinishedJobs} ${unfinishedJobs === 1 ? 'job' : 'jobs'} queued or running`
  const workers =
    leasedReplicas.length === 0
      ? ''
      : ` and workers on ${leasedReplicas.length === 1 ? 'replica' : 'replicas'} ${leasedReplicas.slice(0, 10).join(', ')}`
  return `pool ${name} has ${jobs}${workers}`
}

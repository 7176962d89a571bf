import { setMaxListeners } from 'node:events'
import { Option } from 'commander'
import type { Command } from 'commander'
import type { PoolClient } from '../client/pool-client.ts'
import { jsonLine } from '../contract/json-line.ts'
import { PoolError } from '../contract/error.ts'
import { EXIT, Exit } from './exit.ts'
import { inOrder } from './in-order.ts'
import { withInterrupt } from './interrupt.ts'
import { checkIds, idsOf, withIds } from './job-ids.ts'
import type { IdFlags } from './job-ids.ts'
import { RESULT_HELP, readResult, startSums } from './job-result.ts'
import { usingPool, withPool } from './options.ts'
import type { PoolFlags } from './options.ts'
import { errLine, out, outLine } from './print.ts'

interface ResultsFlags extends PoolFlags, IdFlags {
  readonly text?: boolean
  readonly json?: boolean
}

/** How many jobs are read at once. */
const AT_ONCE = 64

/** `tgi-pool results`. */
export function addResults(program: Command): void {
  const command = program
    .command('results')
    .description('Print the answers of jobs, one JSON line per job, in the order given; does not wait')
  withIds(command)
    .addOption(new Option('--text', 'print only the text of one job').conflicts('file'))
    .option('--json', 'print errors and the summary as JSON, too')
    .addHelpText(
      'after',
      `\nA job that has not ended is printed as {"job_id","state":"queued"|"started"}.${RESULT_HELP}`,
    )
  withPool(command).action(async (jobs: string[], flags: ResultsFlags) => {
    checkIds(jobs, flags.file !== undefined)
    if (flags.text === true && jobs.length !== 1) {
      throw new PoolError('INVALID_PARAMS', `--text: expected one job, got ${jobs.length}`)
    }
    const status = await usingPool(flags, (pool) =>
      withInterrupt((signal) =>
        flags.text === true
          ? printText(pool, jobs[0] ?? '', signal)
          : printResults(pool, jobs, flags, signal),
      ),
    )
    if (status !== EXIT.success) throw new Exit(status)
  })
}

async function printResults(
  pool: PoolClient,
  jobs: readonly string[],
  flags: ResultsFlags,
  signal: AbortSignal,
): Promise<number> {
  // Each job that is being read adds a listener.
  setMaxListeners(0, signal)
  const sums = startSums()
  const results = inOrder(idsOf(jobs, flags, signal), AT_ONCE, (id) => readResult(pool, id, signal))
  for await (const { lastId: _, ...result } of results) {
    signal.throwIfAborted()
    outLine(jsonLine(result))
    sums.count(result)
  }
  signal.throwIfAborted()
  if (jobs.length !== 1) sums.print(flags.json === true)
  return sums.status
}

async function printText(pool: PoolClient, jobId: string, signal: AbortSignal): Promise<number> {
  const result = await readResult(pool, jobId, signal)
  const sums = startSums()
  sums.count(result)
  if (result.text !== undefined) out(`${result.text}\n`)
  else if (result.error === undefined) errLine(`tgi-pool: job ${jobId} has not ended: ${result.state}`)
  else if (result.state === undefined) errLine(`tgi-pool: ${result.error.code}: ${result.error.message}`)
  else errLine(`tgi-pool: job ${jobId} ended in ${result.error.code}: ${result.error.message}`)
  return sums.status
}

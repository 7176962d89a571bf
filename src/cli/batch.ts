import type { Command } from 'commander'
import { EXIT, Exit } from './exit.ts'
import { withInterrupt } from './interrupt.ts'
import { integer, warnOfPassword, withPool } from './options.ts'
import type { PoolFlags } from './options.ts'
import { startBatchReport } from './batch-report.ts'
import { MAX_WINDOW } from '../batch/window.ts'

interface BatchFlags extends PoolFlags {
  readonly out: string
  readonly window?: number
  readonly retryFailed?: boolean
  readonly json?: boolean
}

/** `tgi-pool batch run`. */
export function addBatch(program: Command): void {
  const command = program
    .command('batch')
    .description('Run files of jobs')
    .command('run')
    .description(
      'Run a file of jobs and write a file of answers, one line per job, in the order in which they finish. After an interruption or a crash, run the same command again to resume',
    )
    .argument('<file>', 'file of jobs, as for enqueue --file; lines without a priority are batch jobs')
    .requiredOption('--out <file>', 'file of answers; the state of the run is kept next to it, in <file>.run')
    .option('--retry-failed', 'rerun the lines whose record is an error')
    .option(
      '--window <n>',
      'maximum number of jobs in Redis at once (default: from slots and pace)',
      integer(1, MAX_WINDOW),
    )
    .option('--json', 'print the summary on stdout, and progress and errors, as JSON')
    .addHelpText(
      'after',
      '\nExit status: 0 every line has an answer, 3 at least one line failed or was refused, 130 interrupted.',
    )
  withPool(command).action(async (input: string, flags: BatchFlags) => {
    warnOfPassword(flags.redis)
    // BullMQ and ioredis are two thirds of what the command loads.
    const { runBatch } = await import('../batch/run-batch.ts')
    const report = startBatchReport({ json: flags.json === true, out: flags.out })
    const { redis: redisUrl, pool, prefix, out, window, retryFailed = false } = flags
    let failed: number
    try {
      const end = await withInterrupt((signal) =>
        runBatch({ redisUrl, pool, prefix, input, out, window, retryFailed, signal, report }),
      )
      failed = end.failed
      report.stop('done')
    } catch (error) {
      report.stop(error instanceof Exit ? 'interrupted' : 'failed')
      throw error
    }
    if (failed > 0) throw new Exit(EXIT.jobFailed)
  })
}

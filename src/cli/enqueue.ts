import type { Command } from 'commander'
import { PoolError } from '../contract/error.ts'
import { enqueueFile, printAdmission } from './enqueue-file.ts'
import { EXIT, Exit } from './exit.ts'
import { withInterrupt } from './interrupt.ts'
import { jobOf, readPrompt, usingPool, withJob, withPool } from './options.ts'
import type { JobFlags, PoolFlags } from './options.ts'

/** `tgi-pool enqueue`: one job, or one for each line of a file. */
export function addEnqueue(program: Command): void {
  const command = program
    .command('enqueue')
    .description('Put jobs in the queue; prints one JSON line per job: {"job_id":…,"queue_position":…}')
    .argument('[prompt]', 'the prompt of one job; - reads it from standard input')
    .option(
      '--file <file>',
      'file of jobs, one JSON object per line, each with an optional job_id; - reads standard input. Lines without a priority get that of --priority (default: batch)',
    )
    .option('--no-wait', 'with --file: stop if the queue is full, instead of waiting')
    .option('--json', 'print errors and the summary of --file as JSON, too')
  withJob(withPool(command)).action(
    async (prompt: string | undefined, flags: PoolFlags & JobFlags & FileFlags) => {
      if ((prompt === undefined) === (flags.file === undefined)) {
        throw new PoolError(
          'INVALID_PARAMS',
          `expected a prompt or --file, got ${prompt === undefined ? 'neither' : 'both'}`,
        )
      }
      if (prompt !== undefined) {
        const job = jobOf(await readPrompt(prompt), flags)
        printAdmission(await usingPool(flags, (pool) => pool.enqueue(job, { jobId: flags.jobId })))
        return
      }
      const file = flags.file ?? '-'
      refuseJobFlags(flags)
      const refused = await usingPool(flags, (pool) =>
        withInterrupt((signal) =>
          enqueueFile(pool, file, {
            json: flags.json === true,
            priority: flags.priority ?? 'batch',
            wait: flags.wait,
            signal,
          }),
        ),
      )
      if (refused > 0) throw new Exit(EXIT.usage)
    },
  )
}

interface FileFlags {
  readonly file?: string
  readonly wait: boolean
  readonly json?: boolean
}

/** A line of a file describes its whole job; only the priority may come from a flag. */
function refuseJobFlags(flags: JobFlags): void {
  const names = [
    'maxNewTokens',
    'seed',
    'temperature',
    'topP',
    'topK',
    'system',
    'chat',
    'stop',
    'deadlineMs',
    'jobId',
    'correlationId',
  ] as const
  const given = names.filter((name) => flags[name] !== undefined)
  if (given.length === 0) return
  const typed = given.map((name) => `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`)
  throw new PoolError('INVALID_PARAMS', `${typed.join(', ')}: expected in the lines of --file, got as a flag`)
}

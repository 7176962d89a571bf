import type { Command } from 'commander'
import { openInput, parseJsonLine, statInput, splitLines } from '../batch/job-lines.ts'
import { PoolError } from '../contract/error.ts'
import { parseOrThrow } from '../contract/format-issues.ts'
import { jobIdSchema } from '../contract/ids.ts'
import { toUtf8 } from '../runtime/read-text.ts'

/** Options of a command that takes any number of jobs. */
export interface IdFlags {
  readonly file?: string
}

/** Adds the ids and `--file`. */
export function withIds(command: Command): Command {
  return command
    .argument('[jobs...]', 'the job ids')
    .option(
      '--file <file>',
      'file of job ids, one per line, or JSON lines with a job_id, as printed by enqueue; - reads standard input',
    )
}

/**
 * The job ids given to a command, as they are read.
 *
 * @throws {@link PoolError} `INVALID_PARAMS`: at once for an invalid argument, or if ids and a file are both given or both missing;
 * while reading, for an invalid line of the file.
 */
export function idsOf(
  jobs: readonly string[],
  { file }: IdFlags,
  signal: AbortSignal,
): AsyncIterable<string> {
  checkIds(jobs, file !== undefined)
  return file === undefined ? fromArguments(jobs) : fromFile(file, signal)
}

/** The checks of {@link idsOf} that do not read the file. */
export function checkIds(jobs: readonly string[], hasFile: boolean): void {
  if (jobs.length > 0 === hasFile) {
    const got = hasFile ? 'both' : 'neither'
    throw new PoolError('INVALID_PARAMS', `expected job ids or --file, got ${got}`)
  }
  for (const id of jobs) parseOrThrow(jobIdSchema, id, 'job id')
}

async function* fromArguments(jobs: readonly string[]): AsyncGenerator<string> {
  yield* jobs
}

async function* fromFile(file: string, signal: AbortSignal): AsyncGenerator<string> {
  const what = file === '-' ? 'standard input' : file
  if (file !== '-') await statInput(file, '--file')
  let line = 0
  for await (const bytes of splitLines(toUtf8(openInput(file, signal), what))) {
    if (signal.aborted) return
    line += 1
    const id = idIn(bytes, `${what}: line ${line}`)
    if (id !== undefined) yield id
  }
}

/** The id on a line; undefined for a blank one. */
function idIn(bytes: Buffer, where: string): string | undefined {
  const start = bytes.subarray(0, 1000).toString('utf8').trimStart()
  if (start === '' && bytes.length < 1000) return undefined
  if (!start.startsWith('{'))
    return parseOrThrow(jobIdSchema, bytes.toString('utf8').trim(), `${where}: job id`)
  try {
    const { job_id: id } = parseJsonLine(bytes) as { readonly job_id?: unknown }
    return parseOrThrow(jobIdSchema, id, 'job_id')
  } catch (error) {
    if (!(error instanceof PoolError)) throw error
    throw new PoolError(error.kind, `${where}: ${error.message}`)
  }
}

import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { SingleBar } from 'cli-progress'
import type { Command } from 'commander'
import type { PoolClient } from '../client/pool-client.ts'
import { PoolError } from '../contract/error.ts'
import type { JobInput } from '../contract/job.ts'
import { EXIT, Exit, exitStatus } from './exit.ts'
import { jobOf, readPrompt, usingPool, withJob, withPool } from './options.ts'
import type { JobFlags, PoolFlags } from './options.ts'

/** How many jobs are on their way to Redis at once. */
const IN_FLIGHT = 64

/** `tgi-pool enqueue`: one job, or one a line of a file. */
export function addEnqueue(program: Command): void {
  const command = program
    .command('enqueue')
    .description('Put jobs in the queue; prints one JSON line a job: {"job_id":…,"queue_position":…}')
    .argument('[prompt]', 'the prompt of one job; - reads it from standard input')
    .option('--file <file>', 'one JSON job a line, with an optional job_id; - reads standard input')
    .option('--json', 'errors as JSON, too')
  withJob(withPool(command)).action(
    async (prompt: string | undefined, flags: PoolFlags & JobFlags & { file?: string }) => {
      if ((prompt === undefined) === (flags.file === undefined)) {
        throw new PoolError(
          'INVALID_PARAMS',
          `expected a prompt or --file, got ${prompt === undefined ? 'neither' : 'both'}`,
        )
      }
      if (prompt !== undefined) {
        const job = jobOf(await readPrompt(prompt), flags)
        print(await usingPool(flags, (pool) => pool.enqueue(job, { jobId: flags.jobId })))
        return
      }
      const file = flags.file ?? '-'
      refuseJobFlags(flags)
      refuseJobFlags(flags)
      const refused = await usingPool(flags, (pool) => enqueueLines(pool, file))
      if (refused > 0) throw new Exit(EXIT.usage)
    },
  )
}

/** Each line of a file says all of its own job. */
function refuseJobFlags(flags: JobFlags): void {
  const names = [
    'maxNewTokens',
    'seed',
    'temperature',
    'topP',
    'stop',
    'priority',
    'deadlineMs',
    'jobId',
    'correlationId',
  ] as const
  const given = names.filter((name) => flags[name] !== undefined)
  if (given.length === 0) return
  const typed = given.map((name) => `--${name.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`)
  throw new PoolError('INVALID_PARAMS', `${typed.join(', ')}: expected in the lines of --file, got as a flag`)
}

function print(admission: { job_id: string; queue_position: number }): void {
  process.stdout.write(
    `${JSON.stringify({ job_id: admission.job_id, queue_position: admission.queue_position })}\n`,
  )
}

/**
 * Enqueues a file of jobs and prints the answers in its order. A line that is refused is told on stderr by its number
 * and the others go on; anything else (Redis away) stops it, with the number of the first line that is not done.
 */
async function enqueueLines(pool: PoolClient, file: string): Promise<number> {
  const progress = await startProgress(file)
  const window: Promise<boolean>[] = []
  let accepted = 0
  let refused = 0
  let line = 0
  const settleFirst = async () => {
    if ((await window.shift()) === true) accepted += 1
    else refused += 1
  }
  try {
    for await (const text of createInterface({ input: openInput(file), crlfDelay: Infinity })) {
      line += 1
      progress.update(Buffer.byteLength(text) + 1, accepted)
      if (text.trim() === '') continue
      window.push(enqueueLine(pool, text, line, window.at(-1)))
      if (window.length >= IN_FLIGHT) await settleFirst()
    }
    while (window.length > 0) await settleFirst()
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw error instanceof PoolError
      ? new PoolError(
          error.kind,
          `${message} (after ${accepted} accepted jobs; with job_id in each line the file can be given again)`,
          { cause: error },
        )
      : error
  } finally {
    await Promise.allSettled(window)
    progress.stop(accepted)
  }
  if (refused > 0) process.stderr.write(`tgi-pool: ${accepted} accepted, ${refused} refused\n`)
  return refused
}

/** Enqueues one line and prints its answer once the line before is through; resolves to whether it was accepted. */
async function enqueueLine(
  pool: PoolClient,
  text: string,
  line: number,
  before: Promise<boolean> | undefined,
): Promise<boolean> {
  const answer = (async () => {
    const { job, jobId } = parseLine(text)
    return pool.enqueue(job, { jobId })
  })()
  const [result] = await Promise.allSettled([answer, before])
  if (result.status === 'fulfilled') {
    print(result.value)
    return true
  }
  if (
    exitStatus(result.reason) !== EXIT.usage &&
    !(result.reason instanceof PoolError && result.reason.kind === 'ID_CONFLICT')
  ) {
    throw result.reason
  }
  process.stderr.write(`tgi-pool: line ${line}: ${(result.reason as Error).message}\n`)
  return false
}

function parseLine(text: string): { job: JobInput; jobId: string | undefined } {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    throw new PoolError('INVALID_PARAMS', 'expected a JSON object, got something that is not JSON')
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new PoolError(
      'INVALID_PARAMS',
      `expected a JSON object, got ${Array.isArray(value) ? 'an array' : typeof value}`,
    )
  }
  const { job_id: jobId, ...job } = value as Record<string, unknown>
  if (jobId !== undefined && typeof jobId !== 'string') {
    throw new PoolError('INVALID_PARAMS', `job_id: expected a string, got ${typeof jobId}`)
  }
  return { job, jobId }
}

function openInput(file: string): NodeJS.ReadableStream {
  if (file === '-') return process.stdin
  return createReadStream(file)
}

interface Progress {
  update(bytes: number, accepted: number): void
  stop(accepted: number): void
}

/** A bar on a terminal, nothing elsewhere. By bytes of the file; of a pipe nobody knows the end. */
async function startProgress(file: string): Promise<Progress> {
  const size = file === '-' ? undefined : (await statFile(file)).size
  if (!process.stderr.isTTY) return { update: () => undefined, stop: () => undefined }
  const format =
    size === undefined
      ? 'enqueued {accepted} jobs'
      : '{bar} {percentage}% | {accepted} jobs | {eta_formatted} left'
  const bar = new SingleBar({
    format,
    stream: process.stderr,
    hideCursor: true,
    clearOnComplete: false,
    fps: 10,
  })
  bar.start(size ?? 1, 0, { accepted: 0 })
  let done = 0
  return {
    update(bytes, accepted) {
      done += bytes
      bar.update(size === undefined ? 0 : Math.min(done, size), { accepted })
    },
    stop(accepted) {
      bar.update(size ?? 1, { accepted })
      bar.stop()
    },
  }
}

async function statFile(file: string): Promise<{ size: number }> {
  const found = await stat(file).catch((cause: unknown) => {
    throw new PoolError('CONFIG', `--file: cannot read ${file}`, { cause })
  })
  if (found.isDirectory()) throw new PoolError('CONFIG', `--file: expected a file, got the folder ${file}`)
  return found
}

import { createReadStream } from 'node:fs'
import { jsonLine } from '../contract/json-line.ts'
import type { PoolClient } from '../client/pool-client.ts'
import { PoolError } from '../contract/error.ts'
import type { JobInput } from '../contract/job.ts'
import { EXIT, exitStatus, printError } from './exit.ts'
import { isBlank, openLines, parseJsonLine } from './job-lines.ts'
import { startProgress } from './progress.ts'

/** How many jobs are on their way to Redis at once. */
const IN_FLIGHT = 64

/** Prints the answer to one job. */
export function printAdmission(admission: { job_id: string; queue_position: number }): void {
  const { job_id, queue_position } = admission
  process.stdout.write(`${jsonLine({ job_id, queue_position })}\n`)
}

/**
 * Enqueues a file of jobs (`-`: standard input) and prints the answers in its order. A line that is refused is told on
 * stderr by its number and the others go on; anything else (Redis away, a full queue) stops it. However it ends, every
 * accepted job has been printed.
 *
 * @returns how many lines were refused.
 */
export async function enqueueFile(
  pool: PoolClient,
  file: string,
  { json, signal }: { readonly json: boolean; readonly signal: AbortSignal },
): Promise<number> {
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
    for await (const bytes of await openLines(openInput(file, signal), '--file')) {
      if (signal.aborted) break
      line += 1
      progress.update(bytes.length + 1, accepted)
      if (isBlank(bytes)) continue
      window.push(enqueueLine(pool, bytes, line, json, window.at(-1)))
      if (window.length >= IN_FLIGHT) await settleFirst()
    }
    while (window.length > 0) await settleFirst()
  } catch (error) {
    const rest = await Promise.allSettled(window)
    accepted += rest.filter((result) => result.status === 'fulfilled' && result.value).length
    throw error instanceof PoolError && line > 0 ? stoppedBy(error, accepted) : error
  } finally {
    progress.stop(accepted)
  }
  if (!json && (refused > 0 || signal.aborted)) {
    process.stderr.write(
      `tgi-pool: ${accepted} accepted, ${refused} refused${signal.aborted ? '; interrupted' : ''}\n`,
    )
  }
  signal.throwIfAborted()
  return refused
}

function stoppedBy(error: PoolError, accepted: number): PoolError {
  const advice = `after ${accepted} accepted jobs; with a job_id in each line the file can be given again`
  return new PoolError(error.kind, `${error.message} (${advice})`, { cause: error })
}

/** Enqueues one line and prints its answer once the line before is through; resolves to whether it was accepted. */
async function enqueueLine(
  pool: PoolClient,
  bytes: Buffer,
  line: number,
  json: boolean,
  before: Promise<boolean> | undefined,
): Promise<boolean> {
  const answer = (async () => {
    const { job, jobId } = parseLine(bytes)
    return pool.enqueue(job, { jobId })
  })()
  const [result] = await Promise.allSettled([answer, before])
  if (result.status === 'fulfilled') {
    printAdmission(result.value)
    return true
  }
  if (
    exitStatus(result.reason) !== EXIT.usage &&
    !(result.reason instanceof PoolError && result.reason.kind === 'ID_CONFLICT')
  ) {
    throw result.reason
  }
  printError(result.reason, json, line)
  return false
}

function parseLine(bytes: Buffer): { job: JobInput; jobId: string | undefined } {
  const value = parseJsonLine(bytes)
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

/** The bytes of a file, or of standard input; they end early when the signal is aborted. */
async function* openInput(file: string, signal: AbortSignal): AsyncGenerator<Buffer> {
  const input = file === '-' ? process.stdin : createReadStream(file)
  const stop = () => input.destroy()
  signal.addEventListener('abort', stop, { once: true })
  try {
    yield* input as AsyncIterable<Buffer>
  } catch (error) {
    if (!signal.aborted) throw error
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

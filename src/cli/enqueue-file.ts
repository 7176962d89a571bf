import { isBlank, isOfLine, openInput, openLines, parseJobLine } from '../batch/job-lines.ts'
import { createPatience } from '../batch/patience.ts'
import { jsonLine } from '../contract/json-line.ts'
import type { PoolClient } from '../client/pool-client.ts'
import type { JobInput, Priority } from '../contract/job.ts'
import { PoolError } from '../contract/error.ts'
import { codeOf, startSummary } from './enqueue-summary.ts'
import type { LineOutcome } from './enqueue-summary.ts'
import { printError } from './exit.ts'
import { startProgress } from './progress.ts'
import { err, errLine, outLine } from './print.ts'

/** How many jobs are on their way to Redis at once. */
const IN_FLIGHT = 64

/** Options of enqueueing a file. */
export interface EnqueueFileOptions {
  readonly json: boolean
  /** The priority of lines without one. */
  readonly priority: Priority
  /** Wait when the queue is full, instead of stopping. */
  readonly wait: boolean
  readonly signal: AbortSignal
}

/** Prints the answer to one job. */
export function printAdmission(admission: { job_id: string; queue_position: number }): void {
  const { job_id, queue_position } = admission
  outLine(jsonLine({ job_id, queue_position }))
}

/**
 * Enqueues a file of jobs (`-`: standard input). Prints the answers in the file's order, and a summary on stderr. A line that is
 * refused for good is reported on stderr by its number, and the others go on. A full queue makes it wait; any other failure
 * (e.g. Redis is unreachable) stops it. However it ends, every accepted job has been printed.
 *
 * @returns how many lines were refused.
 */
export async function enqueueFile(
  pool: PoolClient,
  file: string,
  options: EnqueueFileOptions,
): Promise<number> {
  const { json, signal } = options
  const progress = await startProgress(file)
  const summary = startSummary()
  const failed = new AbortController()
  const stop = AbortSignal.any([signal, failed.signal])
  const patience = createPatience({ signal: stop, onFull: (error) => reportFull(error, json) })
  const lines = enqueueLines({
    ...options,
    enqueue: (job, jobId) => {
      const call = () => pool.enqueue(job, { jobId })
      return options.wait ? patience.through(call) : call()
    },
  })
  const window: Promise<LineOutcome>[] = []
  let line = 0
  const settleFirst = async () => {
    const outcome = await window.shift()
    if (outcome !== undefined) summary.count(outcome)
  }
  try {
    for await (const bytes of await openLines(openInput(file, signal), '--file')) {
      if (signal.aborted) break
      line += 1
      progress.update(bytes.length + 1, summary.jobs)
      if (isBlank(bytes)) continue
      window.push(lines(bytes, line, window.at(-1)))
      if (window.length >= IN_FLIGHT) await settleFirst()
    }
    while (window.length > 0) await settleFirst()
  } catch (error) {
    failed.abort(error)
    for (const rest of await Promise.allSettled(window))
      if (rest.status === 'fulfilled') summary.count(rest.value)
    throw error instanceof PoolError && line > 0 ? stoppedBy(error, summary.jobs) : error
  } finally {
    progress.stop(summary.jobs)
    // No line was read, so there is nothing to sum up.
    if (line > 0 || !failed.signal.aborted) summary.print(json, signal.aborted)
  }
  signal.throwIfAborted()
  return summary.refused
}

function stoppedBy(error: PoolError, accepted: number): PoolError {
  const advice = `after ${accepted} accepted jobs; if each line has a job_id, the file can be enqueued again`
  const { kind, retryAfterMs } = error
  return new PoolError(kind, `${error.message} (${advice})`, { cause: error, retryAfterMs })
}

interface LineOptions extends Pick<EnqueueFileOptions, 'json' | 'priority'> {
  readonly enqueue: (
    job: JobInput,
    jobId: string | undefined,
  ) => Promise<{ readonly job_id: string; readonly queue_position: number; readonly existing: boolean }>
}

/** Returns a function that enqueues one line and prints its answer after that of the line before. */
function enqueueLines({ enqueue, json, priority }: LineOptions) {
  return async (
    bytes: Buffer,
    line: number,
    before: Promise<LineOutcome> | undefined,
  ): Promise<LineOutcome> => {
    const answer = (async () => {
      const { job, jobId } = parseJobLine(bytes)
      return enqueue({ priority, ...job }, jobId)
    })()
    const [result] = await Promise.allSettled([answer, before])
    if (result.status === 'fulfilled') {
      printAdmission(result.value)
      return result.value.existing ? 'existing' : 'accepted'
    }
    const { reason } = result as { readonly reason: unknown }
    if (!isOfLine(reason)) throw reason
    printError(reason, json, line)
    return { refused: codeOf(reason) }
  }
}

/** Reports that the queue is full. */
function reportFull({ kind, message }: PoolError, json: boolean): void {
  const text = json
    ? JSON.stringify({ waiting: { code: kind, message } })
    : `tgi-pool: ${message}; waiting for room (--no-wait stops instead)`
  // On a terminal the progress bar occupies this line.
  if (process.stderr.isTTY) err('\n')
  errLine(text)
}

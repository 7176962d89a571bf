import { setMaxListeners } from 'node:events'
import type { PoolClient } from '../client/pool-client.ts'
import { PoolError } from '../contract/error.ts'
import { jsonLine } from '../contract/json-line.ts'
import { inOrder } from './in-order.ts'
import { errLine, outLine } from './print.ts'

/** How to cancel many jobs. */
export interface CancelEachOptions {
  readonly reason?: string | undefined
  readonly json?: boolean | undefined
  /** Skip jobs that have started by the time they are about to be cancelled. */
  readonly onlyQueued?: boolean | undefined
}

type Outcome = 'cancelled' | 'already_over' | 'already_started' | 'unknown'

const WORDS: Readonly<Record<Outcome, string>> = {
  cancelled: 'cancelled',
  already_over: 'had already ended',
  already_started: 'has started and keeps running',
  unknown: 'is unknown, or its events have expired',
}

/** The same in the summary. */
const SUMS: Readonly<Record<Outcome, string>> = {
  cancelled: 'cancelled',
  already_over: 'had already ended',
  already_started: 'had started',
  unknown: 'unknown',
}

/** How many cancels are under way at once. */
const AT_ONCE = 64

/**
 * Cancels jobs and prints a line for each, in the order given. Prints the counts of outcomes on stderr, even if it fails.
 *
 * @returns the number of unknown jobs.
 */
export async function cancelEach(
  pool: PoolClient,
  ids: AsyncIterable<string>,
  options: CancelEachOptions,
  signal: AbortSignal,
): Promise<number> {
  setMaxListeners(0, signal)
  const json = options.json === true
  const sums: Record<Outcome, number> = { cancelled: 0, already_over: 0, already_started: 0, unknown: 0 }
  try {
    const cancel = async (jobId: string) => ({
      jobId,
      outcome: await cancelJob(pool, jobId, options, signal),
    })
    for await (const { jobId, outcome } of inOrder(ids, AT_ONCE, cancel)) {
      sums[outcome] += 1
      outLine(json ? jsonLine({ job_id: jobId, outcome }) : `job ${jobId} ${WORDS[outcome]}`)
    }
    signal.throwIfAborted()
  } finally {
    const parts = Object.entries(SUMS).filter(([outcome]) => sums[outcome as Outcome] > 0)
    const text = parts.map(([outcome, word]) => `${sums[outcome as Outcome]} ${word}`).join(', ')
    errLine(json ? JSON.stringify({ summary: sums }) : `tgi-pool: ${text || 'no jobs cancelled'}`)
  }
  return sums.unknown
}

async function cancelJob(
  pool: PoolClient,
  jobId: string,
  { reason, onlyQueued }: CancelEachOptions,
  signal: AbortSignal,
): Promise<Outcome> {
  try {
    if (onlyQueued === true && (await pool.job(jobId, { signal })).state === 'started')
      return 'already_started'
    return await pool.cancel(jobId, { reason, signal })
  } catch (error) {
    if (error instanceof PoolError && error.kind === 'UNKNOWN_JOB') return 'unknown'
    throw error
  }
}

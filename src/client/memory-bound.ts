import { PoolError } from '../contract/error.ts'
import type { PoolKeys } from '../contract/keys.ts'
import { bareCause } from '../redis/fault.ts'
import type { MemoryUse } from '../redis/memory.ts'

/** A second is enough for a few jobs to end. */
const RETRY_AFTER_MS = 1000

/** What a refusal says when Redis itself refused. */
export const OUT_OF_MEMORY =
  'Redis is out of memory and takes no new jobs. Try again when jobs have ended, or raise its maxmemory'

/** The error for a job that Redis refused because it is out of memory. */
export function outOfMemory(error: unknown): PoolError {
  return new PoolError('ADMISSION_REJECT', OUT_OF_MEMORY, {
    cause: bareCause(error),
    retryAfterMs: RETRY_AFTER_MS,
  })
}

/**
 * The most that a job takes of Redis's memory (bytes). Redis's allocator rounds a body up by at most a quarter; stream, queue and
 * index take about 5 KB.
 */
export function memoryOf(bodyBytes: number): number {
  return Math.ceil(bodyBytes * 1.25) + 5000
}

/** How much of Redis's memory may be used while new jobs are taken (bytes). */
export function limitOf(use: MemoryUse, percent: number): number {
  return Math.floor((use.max * percent) / 100)
}

/**
 * Refuses a job that would leave accepted jobs too little of Redis's memory. Tokens and ends are written at the limit, too, but
 * an operator has to see it coming, and other programs may use the same server.
 *
 * @throws {@link PoolError} `ADMISSION_REJECT`.
 */
export function refuseWithoutMemory(
  { pool }: PoolKeys,
  use: MemoryUse | undefined,
  job: { readonly bytes: number; readonly percent: number },
): void {
  if (use === undefined) return
  const limit = limitOf(use, job.percent)
  if (use.used + job.bytes <= limit) return
  throw new PoolError(
    'ADMISSION_REJECT',
    `Redis is nearly full: ${megabytes(use.used)} used of its maxmemory of ${megabytes(use.max)}; pool ${pool} takes no new jobs above ${megabytes(limit)} (${job.percent} %, the pool's max_memory_percent). Try again when jobs have ended, or raise maxmemory`,
    { retryAfterMs: RETRY_AFTER_MS },
  )
}

function megabytes(bytes: number): string {
  return `${(bytes / 1024 / 1024).toFixed(1)} MB`
}

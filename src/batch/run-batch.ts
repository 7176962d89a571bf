/**
 * Runs a file of jobs and writes a file of answers, with exactly one record for each line of the input, whatever crashes meanwhile.
 *
 * ```
 * input ──line──▶ window ──enqueue──▶ Redis ──seal──▶ record ──fsync──▶ file of answers ──▶ forget
 * ```
 *
 * A line is done when its record is on disk, and only then. Its job is erased from Redis afterwards. If anything crashes before
 * that, the next run of the same command derives the same id from the same line: if Redis still has the job, the command waits for it,
 * otherwise it runs the line again. So the file of answers never has two records of a line, and never misses one.
 */
import { openPool } from '../client/pools.ts'
import { PoolError } from '../contract/error.ts'
import type { BatchOptions, BatchProgress } from './batch-options.ts'
import { BatchRun } from './batch-run.ts'
import { statInput } from './job-lines.ts'
import { openOutFile } from './out-file.ts'
import { prepareRun } from './prepare.ts'

/**
 * Runs the remaining lines of a file of jobs; resolves when each line has its record.
 *
 * @throws {@link PoolError} `CONFIG` or `INVALID_PARAMS` if the files do not belong together, `REDIS_UNAVAILABLE` if Redis does not
 * answer at the start, `POOL_UNAVAILABLE`, `INTERNAL` if the file of answers cannot be written; the signal's reason.
 */
export async function runBatch(options: BatchOptions): Promise<BatchProgress> {
  const { input } = options
  if (input === '-') throw notAFile('stdin')
  if (!(await statInput(input, 'the file of jobs')).isFile()) throw notAFile(`a pipe or device: ${input}`)
  const file = await openOutFile(options.out)
  try {
    const pool = await openPool(options)
    try {
      const config = await pool.config({ signal: options.signal })
      const prepared = await prepareRun({ ...options, file })
      return await new BatchRun(options, { pool, config, file, prepared }).run()
    } finally {
      await pool.close()
    }
  } finally {
    await file.close()
  }
}

function notAFile(got: string): PoolError {
  return new PoolError('CONFIG', `the file of jobs: expected a file, since it is read twice, got ${got}`)
}

import type { Redis } from 'ioredis'
import { startConsumer } from '../../src/queue/consumer.ts'
import type { Consumer, ConsumerOptions, Disposition, TakenJob } from '../../src/queue/consumer.ts'
import { openJobQueue } from '../../src/queue/job-queue.ts'
import type { JobQueue } from '../../src/queue/job-queue.ts'
import { test as base } from '../support/redis.ts'

/** A job in the hands of a consumer, for as long as the test wants. */
interface Run {
  readonly job: TakenJob
  /** When it was taken (performance.now()). */
  readonly at: number
  /** When its lock was lost. */
  readonly lostAt: () => number | undefined
  /** Ends it. */
  readonly end: (disposition: Disposition) => void
}

/** A consumer and what it has taken, in order. */
interface Worker {
  readonly consumer: Consumer
  readonly runs: Run[]
  readonly givenUp: string[]
  readonly errors: unknown[]
}

/** A real queue and consumers of it. */
export interface Stage {
  readonly queue: JobQueue
  /** Starts a consumer that is open; ended after the test, its jobs too. */
  work(options?: Partial<ConsumerOptions> & { readonly url?: string }): Promise<Worker>
}

/** Short, and still long enough for a machine that is busy with other tests. */
export const LOCK_MS = 1000
/** How a job leaves the queue. */
export const OVER: Disposition = { kind: 'over' }

/** `test` with a queue on its own Redis. */
export const test = base.extend('stage', async ({ redis }, { onCleanup }): Promise<Stage> => {
  const queue = openJobQueue(redis.redis, redis.keys)
  const started: { worker: Worker; connection: Redis }[] = []
  onCleanup(async () => {
    await Promise.all(
      started.map(async ({ worker, connection }) => {
        const closed = worker.consumer.close()
        for (const run of worker.runs) run.end(OVER)
        await closed
        connection.disconnect()
      }),
    )
    await queue.close()
  })
  return {
    queue,
    async work({ url, ...options } = {}) {
      const connection = await redis.connect('queue', url)
      const runs: Run[] = []
      const givenUp: string[] = []
      const errors: unknown[] = []
      const consumer = startConsumer({
        connection,
        keys: redis.keys,
        slots: 1,
        lockMs: LOCK_MS,
        stalledIntervalMs: 200,
        maxDeaths: () => 10,
        async giveUp(jobId) {
          givenUp.push(jobId)
          return true
        },
        onError: (error) => errors.push(error),
        run: (job) => take(runs, job),
        ...options,
      })
      const worker = { consumer, runs, givenUp, errors }
      started.push({ worker, connection })
      consumer.open()
      return worker
    },
  }
})

function take(runs: Run[], job: TakenJob): Promise<Disposition> {
  const at = performance.now()
  let lostAt: number | undefined
  job.lockLost.addEventListener('abort', () => (lostAt = performance.now()), { once: true })
  return new Promise((resolve) => {
    runs.push({ job, at, lostAt: () => lostAt, end: resolve })
  })
}

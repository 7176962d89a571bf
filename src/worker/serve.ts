import { onEndSignals } from '../runtime/signals.ts'
import { startWorker } from './worker.ts'
import type { PoolWorker } from './worker.ts'
import type { WorkerOptions } from './worker-options.ts'

/**
 * Starts a worker and serves until SIGTERM or SIGINT; drains, and on a second signal hands back at once. A signal
 * that comes while it starts is obeyed as soon as it has.
 */
export async function serveWorker(options: WorkerOptions, graceMs: number): Promise<void> {
  const { logger } = options
  const asked = Promise.withResolvers<number>()
  let worker: PoolWorker | undefined
  const stopListening = onEndSignals({
    onFirst: (signal) => {
      logger.info(
        { signal, busy: worker?.busy, grace_ms: graceMs },
        'draining; signal again to hand back at once',
      )
      asked.resolve(graceMs)
    },
    onSecond: (signal) => {
      logger.warn({ signal, busy: worker?.busy }, 'handing back at once')
      void worker?.stop(0)
    },
  })
  try {
    worker = await startWorker(options)
    const { workerId, replicaId } = worker
    logger.info(
      { worker_id: workerId, replica_id: replicaId, pool_id: options.pool, slots: options.slots },
      'worker started',
    )
    await worker.stop(await asked.promise)
    logger.info('worker stopped')
  } finally {
    stopListening()
  }
}

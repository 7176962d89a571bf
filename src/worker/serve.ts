import { onEndSignals } from '../runtime/signals.ts'
import { startWorker } from './worker.ts'
import type { WorkerOptions } from './worker-options.ts'

/** Starts a worker and serves until SIGTERM or SIGINT; drains, and on a second signal hands back at once. */
export async function serveWorker(options: WorkerOptions, graceMs: number): Promise<void> {
  const { logger } = options
  const worker = await startWorker(options)
  logger.info(
    { worker_id: worker.workerId, replica_id: worker.replicaId, pool_id: options.pool, slots: options.slots },
    'worker started',
  )
  await new Promise<void>((resolve, reject) => {
    const stopListening = onEndSignals({
      onFirst: (signal) => {
        logger.info(
          { signal, busy: worker.busy, grace_ms: graceMs },
          'draining; signal again to hand back at once',
        )
        worker
          .stop(graceMs)
          .then(() => {
            stopListening()
            resolve()
          })
          .catch(reject)
      },
      onSecond: (signal) => {
        logger.warn({ signal, busy: worker.busy }, 'handing back at once')
        worker.stop(0).catch(reject)
      },
    })
  })
  logger.info('worker stopped')
}

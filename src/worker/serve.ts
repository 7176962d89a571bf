import { PoolError } from '../contract/error.ts'
import type { ReplicaState } from '../contract/replica-entry.ts'
import type { Readiness } from '../http/health.ts'
import type { HttpEnv, HttpServer } from '../http/serve.ts'
import type { Logger } from '../runtime/log.ts'
import { onEndSignals } from '../runtime/signals.ts'
import { startWorker } from './worker.ts'
import type { PoolWorker } from './worker.ts'
import type { WorkerOptions } from './worker-options.ts'

/** Where `/livez` and `/readyz` are served. */
export interface HealthAddress {
  readonly host: string
  /** 0 takes any free one. */
  readonly port: number
}

/**
 * Starts a worker and serves until SIGTERM or SIGINT; drains, and on a second signal hands back at once. A signal
 * that comes while it starts is obeyed as soon as it has.
 *
 * @param health - where to serve `/livez` and `/readyz`, from before the worker starts until it has stopped.
 * @throws `PoolError` `CONFIG` if it cannot listen there; `POOL_UNAVAILABLE` if the pool was deleted; and what {@link startWorker}
 * throws.
 */
export async function serveWorker(
  options: WorkerOptions,
  graceMs: number,
  health?: HealthAddress,
): Promise<void> {
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
  let server: HttpServer | undefined
  try {
    server = health && (await serveHealth(health, () => readinessOf(worker), logger))
    worker = await startWorker({ ...options, graceMs })
    const { workerId, replicaId } = worker
    logger.info(
      { worker_id: workerId, replica_id: replicaId, pool_id: options.pool, slots: options.slots },
      'worker started',
    )
    const wasDeleted = worker.poolDeleted.then(() => undefined)
    const askedMs = await Promise.race([asked.promise, wasDeleted])
    await worker.stop(askedMs ?? 0)
    logger.info('worker stopped')
    if (askedMs === undefined)
      throw new PoolError('POOL_UNAVAILABLE', `pool ${JSON.stringify(options.pool)} was deleted`)
  } finally {
    await server?.close()
    stopListening()
  }
}

/** Loads the HTTP server only when it is needed: most workers run without. */
async function serveHealth(
  address: HealthAddress,
  readiness: () => Readiness,
  logger: Logger,
): Promise<HttpServer> {
  const [{ Hono }, { addHealth }, { startHttpServer }] = await Promise.all([
    import('hono'),
    import('../http/health.ts'),
    import('../http/serve.ts'),
  ])
  const app = new Hono<HttpEnv>({ strict: false })
  addHealth(app, readiness)
  const server = await startHttpServer({
    app,
    ...address,
    portSetting: '--health-port or TGI_POOL_HEALTH_PORT',
    hostSetting: '--health-host or TGI_POOL_HEALTH_HOST',
  })
  logger.info({ url: server.url }, 'health server started')
  return server
}

/** Why a worker in that state takes no jobs. A breaker's short pause changes no state. */
const REASONS: Readonly<Record<Exclude<ReplicaState, 'ready'>, string>> = {
  unhealthy: 'the replica is not healthy; `tgi-pool replicas` shows why',
  drifted: "the replica differs from the pool's pin",
  draining: 'the worker is draining or stopping',
  window: 'a window is open',
  standby: 'the worker does not hold the lease on its replica: another worker does, or Redis does not answer',
  lost: 'the lease was lost',
}

function readinessOf(worker: PoolWorker | undefined): Readiness {
  if (worker === undefined) return { ready: false, reason: 'the worker is starting' }
  const { state, drift } = worker
  if (state === 'ready') return { ready: true }
  const reason = state === 'drifted' && drift !== undefined ? drift : REASONS[state]
  return { ready: false, reason: `${state}: ${reason}` }
}

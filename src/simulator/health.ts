import type { Replica } from './replica.ts'
import type { Exchange } from './respond.ts'
import { sendEmpty, sendError } from './respond.ts'

/**
 * `GET /health`. The shard does one thing at a time, so the response waits for the running prefills
 * (server/text_generation_server/server.py). After a failed generation it runs a prefill of its own, and responds with 503 while that
 * fails (router/src/infer/mod.rs, TGI 3.3.7), which a `generation-error` with the path `/health` causes.
 */
export async function health(replica: Replica, exchange: Exchange): Promise<void> {
  const { faults, settings } = replica
  const isUnhealthy = faults.take(['unhealthy'], { path: exchange.path }).size > 0
  await prefilled(replica, exchange)
  if (exchange.response.destroyed) return
  if (replica.isSuspect) {
    const target = { path: '/health', prompt: 'liveness', isAside: true }
    await elapsed(replica, exchange, settings.prefillMs)
    replica.isSuspect = faults.take(['generation-error'], target).size > 0
  }
  if (replica.isHealthy && !isUnhealthy && !replica.isSuspect) sendEmpty(exchange, 200)
  else sendError(exchange, 'healthcheck', 'unhealthy')
}

/** Resolves when the prefills running now are over, or the client has left. */
function prefilled(replica: Replica, exchange: Exchange): Promise<void> {
  const { engine } = replica
  const ahead = new Set(engine.prefilling)
  return waitOnClock(replica, exchange, () => !engine.prefilling.some((run) => ahead.has(run)))
}

function elapsed(replica: Replica, exchange: Exchange, ms: number): Promise<void> {
  let until: number | undefined
  return waitOnClock(replica, exchange, (nowMs) => nowMs >= (until ??= nowMs + ms))
}

/** Waits on the engine's clock for `isOver`; returns at once if there is nothing to wait for. */
function waitOnClock(
  { engine, settings }: Replica,
  { response }: Exchange,
  isOver: (nowMs: number) => boolean,
): Promise<void> {
  if (isOver(settings.clock.now())) return Promise.resolve()
  return new Promise((resolve) => {
    const end = (): void => {
      engine.detach(beating)
      resolve()
    }
    const beating = {
      beat(nowMs: number) {
        if (isOver(nowMs) || response.destroyed) end()
      },
    }
    engine.attach(beating)
    response.once('close', end)
  })
}

import type { Breaker } from '../replica/breaker.ts'
import type { Logger } from '../runtime/log.ts'

/** Logs what changed in a breaker since the last call. Call it after anything that may change the breaker. */
export type BreakerLog = () => void

const MESSAGES: Readonly<Record<Breaker['state'], string>> = {
  closed: 'breaker closed',
  trial: 'breaker testing replica',
  open: 'breaker opened',
  half_open: 'breaker half-open',
}

/**
 * Logs a breaker's changes: `opened` at warn, the others at info. A full replica is no fault and may happen many times a second, so
 * its changes are logged at debug.
 */
export function createBreakerLog(logger: Logger, replicaId: string, breaker: Breaker): BreakerLog {
  let { state, openUntil, cause } = breaker
  return () => {
    if (breaker.state === state && breaker.openUntil === openUntil) return
    ;({ state, openUntil } = breaker)
    cause = breaker.cause ?? (state === 'trial' ? 'faults' : cause)
    const level = cause === 'overloaded' ? 'debug' : state === 'open' ? 'warn' : 'info'
    const pauseMs =
      openUntil === undefined ? undefined : Math.max(0, Math.round(openUntil - performance.now()))
    logger[level]({ replica_id: replicaId, cause, pause_ms: pauseMs }, MESSAGES[state])
  }
}

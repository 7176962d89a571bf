import type { Breaker } from '../replica/breaker.ts'
import type { Logger } from '../runtime/log.ts'

/** Looks at a breaker and logs what has changed since the last look; call it after whatever may change it. */
export type BreakerLog = () => void

const MESSAGES: Readonly<Record<Breaker['state'], string>> = {
  closed: 'breaker closed',
  trial: 'breaker testing replica',
  open: 'breaker opened',
  half_open: 'breaker half-open',
}

/**
 * Logs a breaker's changes: that it opened at warn, all else at info. A replica that has no room for a moment is no fault and
 * happens many times a second: that is debug.
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

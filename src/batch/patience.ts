import { setTimeout as sleep } from 'node:timers/promises'
import { PoolError } from '../contract/error.ts'
import { isForbidden } from '../redis/fault.ts'

/** Retries calls that fail for a passing reason: a full queue and, optionally, an unreachable Redis. */
export interface Patience {
  /**
   * Repeats the call until it no longer fails for such a reason. All failed calls share one pause.
   *
   * @throws any other error of the call; the signal's reason.
   */
  through<T>(call: () => Promise<T>): Promise<T>
}

/** Pause if an error has no `retryAfterMs` (ms). */
const AGAIN_MS = 1000

/** How to wait. */
export interface PatienceOptions {
  readonly signal: AbortSignal
  /** Called the first time that the queue is full. */
  readonly onFull: (error: PoolError) => void
  /** Called when Redis, or a pool lost with its data, becomes unavailable; the call is then retried. @defaultValue such errors are thrown */
  readonly onAway?: ((error: PoolError) => void) | undefined
  /** Called when a call succeeds again after `onAway`. */
  readonly onBack?: (() => void) | undefined
}

/** Creates the retries of one command. */
export function createPatience({ signal, onFull, onAway, onBack }: PatienceOptions): Patience {
  let pause: Promise<unknown> | undefined
  let fullReported = false
  let away = false

  /** Whether a call should be retried; reports the reason if so. */
  function isForLater(error: unknown): error is PoolError {
    if (!(error instanceof PoolError) || error.ofJob) return false
    if (error.kind === 'ADMISSION_REJECT' || error.kind === 'DEADLINE_UNMET') {
      if (!fullReported) onFull(error)
      fullReported = true
      return true
    }
    if (onAway === undefined || !isOfRedis(error)) return false
    if (!away) onAway(error)
    away = true
    return true
  }

  return {
    async through(call) {
      for (;;) {
        await pause
        signal.throwIfAborted()
        try {
          const answer = await call()
          if (away) onBack?.()
          away = false
          return answer
        } catch (error) {
          if (!isForLater(error)) throw error
          pause ??= sleep(error.retryAfterMs ?? AGAIN_MS, undefined, { signal })
            .catch(() => undefined)
            .finally(() => (pause = undefined))
        }
      }
    },
  }
}

/** Whether Redis is unreachable, or has lost the pool. A missing right does not pass with time. */
function isOfRedis(error: PoolError): boolean {
  if (error.kind === 'REDIS_UNAVAILABLE') return !isForbidden(error.cause)
  return error.kind === 'POOL_UNAVAILABLE'
}

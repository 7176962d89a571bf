import { setTimeout as sleep } from 'node:timers/promises'
import { PoolError } from '../contract/error.ts'
import { isForbidden } from '../redis/fault.ts'

/** Waits for what is better in a moment: a full queue, and an unreachable Redis if asked to. */
export interface Patience {
  /**
   * Repeats the call until it is not refused for such a reason. All refused calls wait together.
   *
   * @throws any other error of the call; the signal's reason.
   */
  through<T>(call: () => Promise<T>): Promise<T>
}

/** Pause if a refusal does not say how long to wait (ms). */
const AGAIN_MS = 1000

/** How to wait. */
export interface PatienceOptions {
  readonly signal: AbortSignal
  /** Called the first time that there is no room for a job. */
  readonly onFull: (error: PoolError) => void
  /** Wait for Redis, and for a pool that was lost with its data. Called when a wait begins. @defaultValue they are errors */
  readonly onAway?: ((error: PoolError) => void) | undefined
  /** Called when a call succeeds after that. */
  readonly onBack?: (() => void) | undefined
}

/** Patience for the calls of one command. */
export function createPatience({ signal, onFull, onAway, onBack }: PatienceOptions): Patience {
  let pause: Promise<unknown> | undefined
  let fullReported = false
  let away = false

  /** Reports why a call is to be repeated; false if it is not. */
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

/** Whether Redis is unreachable, or has lost the pool. What its user may not do stays so. */
function isOfRedis(error: PoolError): boolean {
  if (error.kind === 'REDIS_UNAVAILABLE') return !isForbidden(error.cause)
  return error.kind === 'POOL_UNAVAILABLE'
}

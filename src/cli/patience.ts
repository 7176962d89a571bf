import { setTimeout as sleep } from 'node:timers/promises'
import { PoolError } from '../contract/error.ts'
import { err, errLine } from './print.ts'

/** Waits for room in a full queue. */
export interface Patience {
  /**
   * Repeats the call until it is not refused for lack of room. All refused calls wait together; stderr reports it once.
   *
   * @throws any other error of the call; the signal's reason.
   */
  through<T>(call: () => Promise<T>): Promise<T>
}

/** Pause if a refusal does not say how long to wait (ms). */
const AGAIN_MS = 1000

/** How to wait. */
export interface PatienceOptions {
  readonly json: boolean
  readonly signal: AbortSignal
}

/** Patience for the calls of one command. */
export function createPatience({ json, signal }: PatienceOptions): Patience {
  let pause: Promise<unknown> | undefined
  let isReported = false

  function report({ kind, message }: PoolError): void {
    if (isReported) return
    isReported = true
    const text = json
      ? JSON.stringify({ waiting: { kind, message } })
      : `tgi-pool: ${message}; waiting for room (--no-wait stops instead)`
    // On a terminal the progress bar occupies this line.
    if (process.stderr.isTTY) err('\n')
    errLine(text)
  }

  return {
    async through(call) {
      for (;;) {
        await pause
        signal.throwIfAborted()
        try {
          return await call()
        } catch (error) {
          if (!isForLater(error)) throw error
          report(error)
          pause ??= sleep(error.retryAfterMs ?? AGAIN_MS, undefined, { signal })
            .catch(() => undefined)
            .finally(() => (pause = undefined))
        }
      }
    },
  }
}

/** Whether a job was refused only because too many others wait. */
function isForLater(error: unknown): error is PoolError {
  return (
    error instanceof PoolError &&
    !error.ofJob &&
    (error.kind === 'ADMISSION_REJECT' || error.kind === 'DEADLINE_UNMET')
  )
}

import { setTimeout as sleep } from 'node:timers/promises'
import { PoolError } from '../contract/error.ts'

/** Waits for room in a queue that is full. */
export interface Patience {
  /**
   * Calls until the answer is not "later": those who are told so wait together, and are told so once on stderr.
   *
   * @throws what the call throws otherwise; the signal's reason.
   */
  through<T>(call: () => Promise<T>): Promise<T>
}

/** When a refusal does not say how long to wait (ms). */
const AGAIN_MS = 1000

/** How to wait. */
export interface PatienceOptions {
  readonly json: boolean
  readonly signal: AbortSignal
}

/** Patience for the calls of one command. */
export function createPatience({ json, signal }: PatienceOptions): Patience {
  let pause: Promise<unknown> | undefined
  let isTold = false

  function tell({ kind, message }: PoolError): void {
    if (isTold) return
    isTold = true
    const text = json
      ? JSON.stringify({ waiting: { kind, message } })
      : `tgi-pool: ${message}; waiting for room (--no-wait stops instead)`
    // A bar on a terminal stands in this line.
    process.stderr.write(`${process.stderr.isTTY ? '\n' : ''}${text}\n`)
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
          tell(error)
          pause ??= sleep(error.retryAfterMs ?? AGAIN_MS, undefined, { signal })
            .catch(() => undefined)
            .finally(() => (pause = undefined))
        }
      }
    },
  }
}

/** Whether a job was refused that can be taken when others have left. */
function isForLater(error: unknown): error is PoolError {
  return (
    error instanceof PoolError &&
    !error.ofJob &&
    (error.kind === 'ADMISSION_REJECT' || error.kind === 'DEADLINE_UNMET')
  )
}

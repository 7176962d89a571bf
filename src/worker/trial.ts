import type { Breaker } from '../replica/breaker.ts'
import { TgiError } from '../tgi/error.ts'

/** What a trial needs. */
export interface TrialOptions {
  readonly breaker: Breaker
  /** Whether the worker may open one more request on the replica now. */
  readonly mayBegin: () => boolean
  /** A tiny generation in a slot of its own. Rejects with `TgiError`, or when the worker or the signal interrupts it. */
  readonly generate: (signal: AbortSignal) => Promise<unknown>
  /** Whether a job that failed here has ended well on another replica. */
  readonly hasEndedElsewhere: () => Promise<boolean>
  /** The breaker has changed. */
  readonly onChange: () => void
}

/** Tests a replica on which jobs failed with a request of the worker's own. */
export interface Trial {
  /** Begins one when the breaker waits for it and a slot is free; ends the one that it waits for no more. */
  update(): void
}

/**
 * Tests a replica that failed several jobs with a tiny generation. No job pays for the test, and a few prompts that always fail do
 * not make a good replica look sick.
 */
export function createTrial(options: TrialOptions): Trial {
  const { breaker } = options
  let running: AbortController | undefined

  async function run(signal: AbortSignal): Promise<'passed' | 'suspect' | 'failed' | 'unknown'> {
    try {
      await options.generate(signal)
    } catch (error) {
      // Anything else is an interruption; the next update starts another trial.
      if (!(error instanceof TgiError)) return 'unknown'
      // A full replica works.
      if (error.kind !== 'overloaded') return 'failed'
    }
    return (await options.hasEndedElsewhere().catch(() => false)) ? 'suspect' : 'passed'
  }

  return {
    update() {
      // A job has had its answer meanwhile, or the replica is another one: the slot is for jobs.
      if (breaker.state !== 'trial') return running?.abort()
      if (running !== undefined || !options.mayBegin()) return
      running = new AbortController()
      void run(running.signal).then((result) => {
        running = undefined
        if (result !== 'unknown') breaker.endTrial(result, performance.now())
        options.onChange()
      })
    },
  }
}

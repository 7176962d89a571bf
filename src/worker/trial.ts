import type { Breaker } from '../replica/breaker.ts'
import { TgiError } from '../tgi/error.ts'

/** What a trial works with. */
export interface TrialOptions {
  readonly breaker: Breaker
  /** Whether the worker may open one more request on the replica now. */
  readonly mayBegin: () => boolean
  /** A tiny generation in a slot of its own. Rejects with `TgiError`, or when the worker interrupts it. */
  readonly generate: () => Promise<unknown>
  /** Whether a job that failed here has ended well on another replica. */
  readonly hasEndedElsewhere: () => Promise<boolean>
  /** The breaker has changed. */
  readonly onChange: () => void
}

/** The worker's own request to a replica whose jobs have failed. */
export interface Trial {
  /** Begins one when the breaker waits for it and a slot is free. */
  update(): void
}

/**
 * Tries a replica that has failed several jobs with a tiny generation, so that no job is harmed by finding out, and a few
 * prompts that always fail do not make a good replica look sick.
 */
export function createTrial(options: TrialOptions): Trial {
  const { breaker } = options
  let running = false

  async function run(): Promise<'passed' | 'suspect' | 'failed' | 'unknown'> {
    try {
      await options.generate()
    } catch (error) {
      // Anything else is an interruption: the next update begins another trial.
      if (!(error instanceof TgiError)) return 'unknown'
      // A replica without room works.
      if (error.kind !== 'overloaded') return 'failed'
    }
    return (await options.hasEndedElsewhere().catch(() => false)) ? 'suspect' : 'passed'
  }

  return {
    update() {
      if (breaker.state !== 'trial' || running || !options.mayBegin()) return
      running = true
      void run().then((result) => {
        running = false
        if (result !== 'unknown') breaker.endTrial(result, performance.now())
        options.onChange()
      })
    },
  }
}

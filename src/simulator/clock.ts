/** A simulator's time: the base of every pace, delay and measured duration. */
export interface Clock {
  /** Milliseconds since some moment; never goes back. */
  now(): number
  /** Calls `action` every `ms` until the function it returns is called. */
  every(ms: number, action: () => void): () => void
}

/** The clock of this process: `performance.now()` and Node's timers. */
export const REAL_CLOCK: Clock = {
  now: () => performance.now(),
  every(ms, action) {
    const timer = setInterval(action, ms)
    return () => clearInterval(timer)
  },
}

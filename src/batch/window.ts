/** Bounds of the number of jobs that a batch may have in Redis. */
const [MIN, MAX] = [32, 1000]
/** Jobs for this time (s) wait in the queue, so that no slot runs idle. */
const AHEAD_S = 2

/** The largest `--window`. */
export const MAX_WINDOW = MAX

/**
 * How many jobs of a batch should be in Redis: twice the number that run, plus those that end within two seconds at the current pace.
 * More would only use memory.
 *
 * @param slots the slots of all replicas that take jobs.
 */
export function windowFor(slots: number, jobsPerSecond: number): number {
  const wanted = Math.ceil(2 * slots + AHEAD_S * jobsPerSecond)
  return Math.min(Math.max(wanted, MIN), MAX)
}

/** Measures a pace. */
export interface Pace {
  count(): void
  /** Jobs per second, over the last seconds. */
  perSecond(): number
}

/** The time constant of the exponential decay (ms). */
const MEMORY_MS = 10_000

/** Creates a pace that starts at zero. */
export function createPace(now: () => number = () => performance.now()): Pace {
  const from = now()
  let at = from
  /** Sum of jobs, weighted down by age. */
  let weight = 0
  const decay = () => {
    const time = now()
    weight *= Math.exp((at - time) / MEMORY_MS)
    at = time
  }
  return {
    count() {
      decay()
      weight += 1
    },
    perSecond() {
      decay()
      // In the first seconds only part of the averaging window is filled.
      const filled = 1 - Math.exp((from - at) / MEMORY_MS)
      return filled <= 0 ? 0 : (weight / (filled * MEMORY_MS)) * 1000
    },
  }
}

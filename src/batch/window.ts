/** How many jobs a batch may have in Redis: at least this, at most that. */
const [MIN, MAX] = [32, 1000]
/** Jobs for this time (s) wait in the queue, so that no slot is ever without one. */
const AHEAD_S = 2

/** The most that `--window` may be. */
export const MAX_WINDOW = MAX

/**
 * How many jobs of a batch should be in Redis: those that run, as many again, and those that end within two seconds at the pace of
 * now. More would only take memory.
 *
 * @param slots of all replicas that take jobs.
 */
export function windowFor(slots: number, jobsPerSecond: number): number {
  const wanted = Math.ceil(2 * slots + AHEAD_S * jobsPerSecond)
  return Math.min(Math.max(wanted, MIN), MAX)
}

/** Measures a pace. */
export interface Pace {
  count(): void
  /** Jobs a second, over the last seconds. */
  perSecond(): number
}

/** How fast an old measurement is forgotten: to a third in this time (ms). */
const MEMORY_MS = 10_000

/** A pace that begins at zero. */
export function createPace(now: () => number = () => performance.now()): Pace {
  const from = now()
  let at = from
  /** Jobs, each weighing less the longer ago it ended. */
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
      // In the first seconds less than the whole memory is filled.
      const filled = 1 - Math.exp((from - at) / MEMORY_MS)
      return filled <= 0 ? 0 : (weight / (filled * MEMORY_MS)) * 1000
    },
  }
}

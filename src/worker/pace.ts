/** How long jobs hold a slot. */
export interface Pace {
  /** A job ended after so long (ms). */
  record(ms: number): void
  /** A mean in which the last ten jobs or so count most; undefined until one has ended. */
  readonly meanMs: number | undefined
  /** How many jobs have ended. */
  readonly count: number
}

/** How much the newest job counts. */
const WEIGHT = 0.1

/** A pace that nothing is known of. */
export function createPace(): Pace {
  let mean: number | undefined
  let count = 0
  return {
    record(ms) {
      count += 1
      mean = mean === undefined ? ms : mean + (ms - mean) * WEIGHT
    },
    get meanMs() {
      return mean === undefined ? undefined : Math.round(mean)
    },
    get count() {
      return count
    },
  }
}

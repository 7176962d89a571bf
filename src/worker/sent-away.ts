/** Jobs that this worker left to others a moment ago. */
export interface SentAway {
  /** Records that a job is sent away now (performance.now()). @returns whether it was also sent away a moment ago. */
  add(jobId: string, nowMs: number): boolean
}

/** A job that comes back within this time found no other worker (ms). */
const MOMENT_MS = 1000

/** Starts empty. */
export function createSentAway(): SentAway {
  /** Ordered by time. */
  const jobs = new Map<string, number>()
  return {
    add(jobId, nowMs) {
      for (const [id, at] of jobs) {
        if (nowMs - at <= MOMENT_MS) break
        jobs.delete(id)
      }
      const again = jobs.delete(jobId)
      jobs.set(jobId, nowMs)
      return again
    },
  }
}

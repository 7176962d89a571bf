/** Jobs that this worker has left to others a moment ago. */
export interface SentAway {
  /** Notes that a job is sent away now (performance.now()). @returns whether it was, too, a moment ago. */
  add(jobId: string, nowMs: number): boolean
}

/** A job that comes back within this time (ms) has found no other worker. */
const MOMENT_MS = 1000

/** None yet. */
export function createSentAway(): SentAway {
  /** In the order of their times. */
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

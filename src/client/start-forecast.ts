import type { ReplicaEntry } from '../contract/replica-entry.ts'

/** Foretells when a job will start. */
export interface StartForecast {
  /**
   * How long a job will wait that has so many jobs ahead of it (ms from now); undefined when nothing is known of the
   * pool's pace yet.
   */
  predict(position: number): Promise<number | undefined>
}

/** How long what the registry said is believed (ms). */
const FRESH_MS = 1000

/**
 * A forecast from what the workers say: `position` jobs ahead go through all free slots of ready replicas, each at the
 * pace of its last jobs.
 *
 * @param replicas reads the registry.
 */
export function createStartForecast(replicas: () => Promise<readonly ReplicaEntry[]>): StartForecast {
  let entries: Promise<readonly ReplicaEntry[]> | undefined
  let readAt = -Infinity
  return {
    async predict(position) {
      if (performance.now() - readAt > FRESH_MS) {
        readAt = performance.now()
        entries = replicas()
        // The next call looks again; a forecast is never a reason to refuse a job.
        entries.catch(() => (readAt = -Infinity))
      }
      return forecast((await entries?.catch(() => [])) ?? [], position)
    },
  }
}

/** When the job with `position` ahead of it starts (ms from now). */
export function forecast(replicas: readonly ReplicaEntry[], position: number): number | undefined {
  const ready = replicas.filter(({ slots }) => slots > 0)
  const free = ready.reduce((sum, { slots, busy }) => sum + Math.max(0, slots - busy), 0)
  if (position < free) return 0
  let jobsPerMs = 0
  for (const { slots, job_ms: jobMs } of ready) {
    if (jobMs === undefined) return undefined
    jobsPerMs += slots / Math.max(1, jobMs)
  }
  return jobsPerMs === 0 ? undefined : Math.round((position - free + 1) / jobsPerMs)
}

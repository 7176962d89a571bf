import { reservedSlots } from '../contract/limits.ts'
import type { Priority } from '../contract/job.ts'
import type { PoolConfig } from '../contract/pool-config.ts'
import type { ReplicaEntry } from '../contract/replica-entry.ts'

/** What to forecast. */
export interface StartQuestion {
  /** How many jobs are ahead. */
  readonly position: number
  readonly priority: Priority
  readonly config: Pick<PoolConfig, 'reserved_slots'>
}

/** When a job will start, and on how many jobs that rests. */
export interface Forecast {
  /** From now (ms). */
  readonly startMs: number
  /** How many jobs have ended on the replicas that count. */
  readonly jobCount: number
}

/** Forecasts when a job will start. */
export interface StartForecast {
  /** Undefined while the pool's pace is unknown. */
  predict(question: StartQuestion): Promise<Forecast | undefined>
}

/** How long what the registry said is believed (ms). */
const FRESH_MS = 1000

/**
 * A forecast from the workers' entries: the jobs ahead go through all slots of ready replicas that the job may use, each at the
 * pace of its last jobs.
 *
 * @param replicas reads the registry.
 */
export function createStartForecast(replicas: () => Promise<readonly ReplicaEntry[]>): StartForecast {
  let entries: Promise<readonly ReplicaEntry[]> | undefined
  let readAt = -Infinity
  return {
    async predict(question) {
      if (performance.now() - readAt > FRESH_MS) {
        readAt = performance.now()
        entries = replicas()
        // An unreadable registry is no reason to refuse a job; the next call reads it again.
        entries.catch(() => (readAt = -Infinity))
      }
      return forecast((await entries?.catch(() => [])) ?? [], question)
    },
  }
}

/** The forecast from registry entries. The entry of a lost replica is still there, so skip it. */
export function forecast(
  replicas: readonly ReplicaEntry[],
  { position, priority, config }: StartQuestion,
): Forecast | undefined {
  let free = 0
  let jobsPerMs: number | undefined = 0
  let jobCount = 0
  for (const { state, slots, busy, job_ms: jobMs, job_count: count = 0 } of replicas) {
    if (state !== 'ready') continue
    const mine = priority === 'batch' ? slots - reservedSlots(config, slots) : slots
    if (mine <= 0) continue
    free += Math.max(0, mine - busy)
    jobCount += count
    jobsPerMs =
      jobMs === undefined || jobsPerMs === undefined ? undefined : jobsPerMs + mine / Math.max(1, jobMs)
  }
  if (position < free) return { startMs: 0, jobCount }
  if (jobsPerMs === undefined || jobsPerMs === 0) return undefined
  return { startMs: Math.round((position - free + 1) / jobsPerMs), jobCount }
}

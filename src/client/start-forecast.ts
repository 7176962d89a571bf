import { reservedSlots } from '../contract/limits.ts'
import type { Priority } from '../contract/job.ts'
import type { PoolConfig } from '../contract/pool-config.ts'
import type { ReplicaEntry } from '../contract/replica-entry.ts'

/** What is asked of a forecast. */
export interface StartQuestion {
  /** How many jobs are ahead. */
  readonly position: number
  readonly priority: Priority
  readonly config: Pick<PoolConfig, 'reserved_slots'>
}

/** When a job will start, and what that rests on. */
export interface Forecast {
  /** From now. */
  readonly startMs: number
  /** How many jobs have ended on the replicas that are counted on. */
  readonly jobCount: number
}

/** Foretells when a job will start. */
export interface StartForecast {
  /** Undefined when nothing is known of the pool's pace yet. */
  predict(question: StartQuestion): Promise<Forecast | undefined>
}

/** How long what the registry said is believed (ms). */
const FRESH_MS = 1000

/**
 * A forecast from what the workers say: the jobs ahead go through all slots of ready replicas that the job may have, each
 * at the pace of its last jobs.
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
        // The next call looks again; a registry that cannot be read is never a reason to refuse a job.
        entries.catch(() => (readAt = -Infinity))
      }
      return forecast((await entries?.catch(() => [])) ?? [], question)
    },
  }
}

/** When a job starts, as far as the registry tells. A replica that is lost still has its last word there. */
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

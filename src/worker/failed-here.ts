import { countAttempts } from '../attempt/log-view.ts'
import type { PoolKeys } from '../contract/keys.ts'
import type { Versions } from '../contract/replica-entry.ts'
import { SEAL_ID } from '../contract/stream-id.ts'
import type { RedisConnection } from '../redis/connect.ts'
import { listReplicas } from '../replica/registry.ts'
import type { EventLog } from '../stream/event-log.ts'

/**
 * Jobs that met a fault of this replica. A sick replica that is idle beside good ones that are busy would otherwise take the
 * same few jobs again and again until their attempts are used up, each of them within a few seconds.
 */
export interface FailedHere {
  /** An attempt at the job met a fault of the replica. */
  add(jobId: string): void
  /** It had an answer here. */
  forget(jobId: string): void
  /**
   * Whether another replica is to have the job next: it failed here, and a ready replica of the same build has tried it less
   * often. False where that cannot be found out.
   */
  isForOthers(jobId: string): Promise<boolean>
  /**
   * Whether one of the jobs that failed here last has its answer from another replica: then the job was not to blame. Each
   * job is asked about until it is over.
   */
  hasEndedElsewhere(): Promise<boolean>
}

/** What it looks at. */
export interface FailedHereOptions {
  readonly redis: RedisConnection
  readonly keys: PoolKeys
  readonly log: Pick<EventLog, 'read' | 'lastEntries'>
  readonly replicaId: string
  /** The build of this replica, as far as is known. */
  readonly versions: () => Versions | undefined
}

/** How many jobs are remembered; the oldest are forgotten, which costs them an attempt at most. */
const MOST_JOBS = 1000
/** How many of them are evidence. */
const MOST_EVIDENCE = 16

/** Nothing has failed yet. */
export function createFailedHere(options: FailedHereOptions): FailedHere {
  const { redis, keys, log, replicaId } = options
  const jobs = new Set<string>()

  async function isOtherBetter(attempts: ReadonlyMap<string, number>): Promise<boolean> {
    const mine = options.versions()
    const own = attempts.get(replicaId) ?? 0
    const replicas = await listReplicas(redis, keys)
    return replicas.some(
      ({ replica_id: id, state, versions }) =>
        id !== replicaId &&
        state === 'ready' &&
        versions?.engine_version === mine?.engine_version &&
        versions?.model_id === mine?.model_id &&
        (attempts.get(id) ?? 0) < own,
    )
  }

  return {
    add(jobId) {
      jobs.delete(jobId)
      jobs.add(jobId)
      const [oldest] = jobs
      if (jobs.size > MOST_JOBS && oldest !== undefined) jobs.delete(oldest)
    },
    forget: (jobId) => void jobs.delete(jobId),
    async isForOthers(jobId) {
      if (!jobs.has(jobId)) return false
      try {
        const { entries } = await log.read(jobId)
        if (entries.length > 0 && entries.at(-1)?.id !== SEAL_ID)
          return await isOtherBetter(countAttempts(entries))
        jobs.delete(jobId)
        return false
      } catch {
        // The attempt meets the same fault of Redis, and the policy decides.
        return false
      }
    },
    async hasEndedElsewhere() {
      const recent = [...jobs].slice(-MOST_EVIDENCE)
      const last = await log.lastEntries(recent)
      const over = recent.filter((_, index) => last[index]?.id === SEAL_ID)
      for (const jobId of over) jobs.delete(jobId)
      return last.some((entry) => entry?.event === 'end')
    },
  }
}

import { countAttempts } from '../attempt/log-view.ts'
import type { PoolKeys } from '../contract/keys.ts'
import type { Versions } from '../contract/replica-entry.ts'
import { SEAL_ID } from '../contract/stream-id.ts'
import type { RedisConnection } from '../redis/connect.ts'
import { listReplicas } from '../replica/registry.ts'
import type { EventLog } from '../stream/event-log.ts'

/**
 * Jobs that failed on this replica. Without it, a sick idle replica beside busy good ones would take the same few jobs again and
 * again until their attempts are used up, within a few seconds each.
 */
export interface FailedHere {
  /**
   * An attempt at the job failed on the replica.
   *
   * @param isVictim whether another job is known by now to have failed it: then its good end elsewhere speaks against no replica.
   */
  add(jobId: string, isVictim: () => boolean): void
  /** The job was answered here. */
  forget(jobId: string): void
  /**
   * Whether another replica should take the job: it failed here, and a ready replica of the same build has tried it less often.
   * False if the registry or the stream cannot be read.
   */
  isForOthers(jobId: string): Promise<boolean>
  /**
   * Whether another replica has answered one of the jobs that failed here recently: then the job was not to blame. Each job is
   * checked until it is over.
   */
  hasEndedElsewhere(): Promise<boolean>
}

/** What it reads. */
export interface FailedHereOptions {
  readonly redis: RedisConnection
  readonly keys: PoolKeys
  readonly log: Pick<EventLog, 'read' | 'lastEntries'>
  readonly replicaId: string
  /** The build of this replica, as far as is known. */
  readonly versions: () => Versions | undefined
}

/** How many jobs are remembered; forgetting the oldest costs each an attempt at most. */
const MOST_JOBS = 1000
/** How many of them are checked as evidence. */
const MOST_EVIDENCE = 16

/** Nothing has failed yet. */
export function createFailedHere(options: FailedHereOptions): FailedHere {
  const { redis, keys, log, replicaId } = options
  const jobs = new Set<string>()
  const evidence = new Map<string, () => boolean>()

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
    add(jobId, isVictim) {
      jobs.delete(jobId)
      jobs.add(jobId)
      forgetOldest(jobs, MOST_JOBS)
      evidence.delete(jobId)
      evidence.set(jobId, isVictim)
      forgetOldest(evidence, MOST_EVIDENCE)
    },
    forget(jobId) {
      jobs.delete(jobId)
      evidence.delete(jobId)
    },
    async isForOthers(jobId) {
      if (!jobs.has(jobId)) return false
      try {
        const { entries } = await log.read(jobId)
        if (entries.length > 0 && entries.at(-1)?.id !== SEAL_ID)
          return await isOtherBetter(countAttempts(entries))
        jobs.delete(jobId)
        return false
      } catch {
        // The attempt will hit the same fault of Redis, and the policy decides then.
        return false
      }
    },
    async hasEndedElsewhere() {
      const recent = [...evidence].flatMap(([jobId, isVictim]) => (isVictim() ? [] : jobId))
      const last = await log.lastEntries(recent)
      for (const [index, jobId] of recent.entries()) if (last[index]?.id === SEAL_ID) evidence.delete(jobId)
      return last.some((entry) => entry?.event === 'end')
    },
  }
}

function forgetOldest(jobs: Set<string> | Map<string, unknown>, most: number): void {
  const [oldest] = jobs.keys()
  if (jobs.size > most && oldest !== undefined) jobs.delete(oldest)
}

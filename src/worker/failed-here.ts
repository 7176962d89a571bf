import type { PoolKeys } from '../contract/keys.ts'
import type { Versions } from '../contract/replica-entry.ts'
import { SEAL_ID } from '../contract/stream-id.ts'
import type { RedisConnection } from '../redis/connect.ts'
import { listReplicas } from '../replica/registry.ts'
import { parseEntry } from '../stream/entry.ts'
import type { LogEntry } from '../stream/entry.ts'
import type { EventLog } from '../stream/event-log.ts'

/**
 * Jobs that met a fault of this replica. A sick replica that is idle beside good ones that are busy would else try the
 * same few jobs again and again until their attempts are used up, each of them in a few seconds.
 */
export interface FailedHere {
  /** An attempt at the job met a fault of the replica. */
  add(jobId: string): void
  /**
   * Whether another replica is to have the job next: this one made its last attempt, that failed, and another one of the
   * same build is ready. False where that cannot be told.
   */
  isForOthers(jobId: string): Promise<boolean>
}

/** What it looks at. */
export interface FailedHereOptions {
  readonly redis: RedisConnection
  readonly keys: PoolKeys
  readonly log: Pick<EventLog, 'read'>
  readonly replicaId: string
  /** The build of this replica, as far as is known. */
  readonly versions: () => Versions | undefined
}

/** How many jobs are remembered; the oldest are forgotten, which costs them an attempt at most. */
const MOST_JOBS = 1000

/** Nothing has failed yet. */
export function createFailedHere(options: FailedHereOptions): FailedHere {
  const { redis, keys, log, replicaId } = options
  const jobs = new Set<string>()

  async function isOtherReady(): Promise<boolean> {
    const mine = options.versions()
    const replicas = await listReplicas(redis, keys)
    return replicas.some(
      ({ replica_id: id, state, versions }) =>
        id !== replicaId &&
        state === 'ready' &&
        versions?.engine_version === mine?.engine_version &&
        versions?.model_id === mine?.model_id,
    )
  }

  return {
    add(jobId) {
      jobs.delete(jobId)
      jobs.add(jobId)
      const [oldest] = jobs
      if (jobs.size > MOST_JOBS && oldest !== undefined) jobs.delete(oldest)
    },
    async isForOthers(jobId) {
      if (!jobs.has(jobId)) return false
      try {
        const { entries } = await log.read(jobId)
        const isLast = entries.at(-1)?.id !== SEAL_ID && lastReplica(entries) === replicaId
        if (isLast) return await isOtherReady()
        jobs.delete(jobId)
        return false
      } catch {
        // The attempt meets the same fault of Redis, and knows what to do.
        return false
      }
    },
  }
}

/** Which replica had the last attempt. */
function lastReplica(entries: readonly LogEntry[]): string | undefined {
  const started = entries.findLast(({ event }) => event === 'started')
  const event = started && parseEntry(started)
  return event?.event === 'started' ? event.data.replica_id : undefined
}

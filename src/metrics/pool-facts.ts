import { JOB_STATES } from '../contract/job-states.ts'
import type { JobStateName } from '../contract/job-states.ts'
import { poolKeys, poolsKey } from '../contract/keys.ts'
import type { PoolKeys } from '../contract/keys.ts'
import type { ReplicaEntry } from '../contract/replica-entry.ts'
import { QUEUED_ID } from '../contract/stream-id.ts'
import { readPoolNames } from '../pool/config-store.ts'
import { readQueueDepth } from '../queue/queue-depth.ts'
import type { QueueDepth, WaitingJob } from '../queue/queue-depth.ts'
import { redisTimeMs } from '../redis/connect.ts'
import { isConnectionError } from '../redis/fault.ts'
import type { RedisConnection } from '../redis/connect.ts'
import { listReplicas } from '../replica/registry.ts'
import { parseEntry, parseRawEntry } from '../stream/entry.ts'
import type { RawEntry } from '../stream/entry.ts'

/** A replica, whichever worker serves it. */
export interface ReplicaFacts {
  readonly poolId: string
  /** What the holder of its lease says; without one, what one that stands by says. */
  readonly entry: ReplicaEntry
  /** Workers that stand by for it. */
  readonly standbys: number
  /** The addresses that those serve. */
  readonly standbyUrls: readonly string[]
}

/** What Redis knows of one pool. */
export interface PoolFacts {
  readonly poolId: string
  readonly depth: QueueDepth
  /** How long the job that waits longest has waited (s); 0 when none waits. */
  readonly oldestWaitSeconds: number
  readonly replicas: readonly ReplicaFacts[]
  /** The HASH `counters`, which event writes increment. */
  readonly counters: Readonly<Record<string, string>>
  /** How many jobs the index has in each state. */
  readonly indexed: ReadonlyMap<JobStateName, number>
}

/** A pool, or why it could not be read: something else stands where its queue or registry should be. */
export type PoolReading =
  | ({ readonly readable: true } & PoolFacts)
  | { readonly readable: false; readonly poolId: string; readonly error: unknown }

/**
 * Reads all pools of a prefix. One that cannot be read does not hide the others.
 *
 * @param onInvalid called with names in the list of pools that are none.
 * @throws what the driver throws when Redis is away.
 */
export async function readPools(
  redis: RedisConnection,
  prefix: string,
  onInvalid?: (names: readonly string[]) => void,
): Promise<PoolReading[]> {
  const { pools, invalid } = await readPoolNames(redis, poolsKey(prefix))
  onInvalid?.(invalid)
  return Promise.all(
    pools.map(async (poolId): Promise<PoolReading> => {
      try {
        return { readable: true, ...(await readPool(redis, poolKeys(poolId, prefix))) }
      } catch (error) {
        if (isConnectionError(error)) throw error
        return { readable: false, poolId, error }
      }
    }),
  )
}

async function readPool(redis: RedisConnection, keys: PoolKeys): Promise<PoolFacts> {
  const [depth, entries, counters, ...sizes] = await Promise.all([
    readQueueDepth(redis, keys),
    listReplicas(redis, keys),
    redis.hgetall(keys.counters),
    ...keys.indexes.map((key) => redis.zcard(key)),
  ])
  const [now, ...since] = await Promise.all([
    redisTimeMs(redis, keys.config),
    ...depth.heads.map((job) => waitingSince(redis, keys, job)),
  ])
  // Without a head `Math.min` is Infinity; a foreign producer's clock may be ahead of Redis's.
  const oldestWaitSeconds = Math.max(0, now - Math.min(now, ...since)) / 1000
  return {
    poolId: keys.pool,
    depth,
    oldestWaitSeconds,
    replicas: groupReplicas(keys.pool, entries),
    counters,
    indexed: new Map(JOB_STATES.map((state, at) => [state, sizes[at] ?? 0])),
  }
}

/** When a job was accepted; what no producer of ours put in the queue has no `queued`. */
async function waitingSince(redis: RedisConnection, keys: PoolKeys, job: WaitingJob): Promise<number> {
  const [raw] = (await redis.xrange(keys.events(job.id), QUEUED_ID, QUEUED_ID)) as RawEntry[]
  if (raw === undefined) return job.addedAt
  const entry = parseEntry(parseRawEntry(raw))
  return entry.event === 'queued' ? entry.data.accepted_at : job.addedAt
}

function groupReplicas(poolId: string, entries: readonly ReplicaEntry[]): ReplicaFacts[] {
  const groups = Map.groupBy(entries, (entry) => entry.replica_id)
  return [...groups.values()].flatMap((group) => {
    const serving = group.find(({ state }) => state !== 'standby')
    const entry = serving ?? group[0]
    if (entry === undefined) return []
    const standbyUrls = group.filter(({ state }) => state === 'standby').map(({ url }) => url)
    return [{ poolId, entry, standbys: standbyUrls.length, standbyUrls }]
  })
}

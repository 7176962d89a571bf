/**
 * Deletes a pool with every key of it. The order makes an interrupted deletion harmless, and lets the same call go on with it:
 *
 * 1. `config` becomes a mark (pool/deletion.ts). From here on nothing is accepted, and workers of the pool stop.
 * 2. Jobs that are not over are cancelled: readers get a terminal event, and workers close their requests.
 * 3. Workers let go of their leases; one that is frozen or dead loses its lease.
 * 4. Keys are removed, queues and streams alike, until none is found.
 * 5. The name leaves `pools`, and the mark says for a day that the pool was deleted.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { PoolError } from '../contract/error.ts'
import type { PoolKeys } from '../contract/keys.ts'
import { clearDeletion, markDeletion, readDeletion } from '../pool/deletion.ts'
import type { Deletion } from '../pool/deletion.ts'
import { readPoolNames, unknownPoolError } from '../pool/config-store.ts'
import { readQueueDepth } from '../queue/queue-depth.ts'
import type { RedisConnection } from '../redis/connect.ts'
import { mustBeAllowedToScan, unlinkKeys } from '../redis/unlink-keys.ts'
import { listLeased } from '../replica/registry.ts'
import { ANYTHING } from '../stream/event-log.ts'
import type { EventLog } from '../stream/event-log.ts'
import type { LogEntry } from '../stream/entry.ts'
import { errorSeal } from '../stream/seal.ts'

/** What is lost with a pool. */
export interface PoolContents {
  /** How many jobs are queued or running. */
  readonly unfinishedJobs: number
  /** Replicas whose leases workers hold. */
  readonly leasedReplicas: readonly string[]
}

/** A pool to delete. */
export interface DeletePoolRequest {
  readonly redis: RedisConnection
  readonly keys: PoolKeys
  readonly log: EventLog
  /** Deletes it although workers hold leases; they stop. */
  readonly force: boolean
  readonly confirm?: ((contents: PoolContents) => void | Promise<void>) | undefined
  /** Called for each job that this call ended. */
  readonly onSealed?: ((jobId: string, seal: LogEntry) => Promise<void>) | undefined
}

/** Jobs that are cancelled at once. */
const AT_ONCE = 64
/** Jobs that one look at the index finds. */
const PAGE = 1000
/** How long stopping workers may take: to see the mark, to close, and for the lease to expire of one that cannot (ms). */
const RELEASE_MS = 20_000
const LOOK_MS = 50
/** Calls that had begun before the mark may still write; more passes than this mean a process that does not stop. */
const MAX_PASSES = 20
/** Enough for a reader that is about to read (ms). */
const SEALED_FOR_MS = 60_000

/**
 * Deletes a pool. A call that was interrupted is completed by the next one; deleting a pool that was deleted within the last day
 * removes what may have been written since.
 *
 * @throws {@link PoolError} `POOL_UNAVAILABLE` if there is none; `POOL_IN_USE` if workers hold leases; what `confirm` throws.
 */
export async function deletePool(request: DeletePoolRequest): Promise<void> {
  const { redis, keys, force, confirm } = request
  const hasBegun = await findPool(redis, keys)
  await mustBeAllowedToScan(redis, keys.config)
  const contents = await readContents(redis, keys, hasBegun)
  if (!force) refuseInUse(keys.pool, contents.leasedReplicas)
  await confirm?.(contents)
  await markDeletion(redis, keys, 'under_way')
  await redis.spublish(keys.controlChannel, '')
  await cancelAll(request)
  await leasesReleased(redis, keys)
  await removeKeys(redis, keys)
  await redis.srem(keys.pools, keys.pool)
  await markDeletion(redis, keys, 'done')
}

/**
 * Makes way for a pool of the same name: removes what may have been written since the deletion, then the mark. A no-op for a pool
 * that was not deleted, or not yet.
 */
export async function forgetDeletion(redis: RedisConnection, keys: PoolKeys): Promise<void> {
  if ((await readDeletion(redis, keys)) !== 'done') return
  await removeKeys(redis, keys)
  await clearDeletion(redis, keys)
}

/** Whether a deletion of the pool has begun. @throws `POOL_UNAVAILABLE` if there is no such pool. */
async function findPool(redis: RedisConnection, keys: PoolKeys): Promise<boolean> {
  const { pools } = await readPoolNames(redis, keys.pools)
  const mark = await readMark(redis, keys)
  if (mark === undefined && !pools.includes(keys.pool)) throw unknownPoolError(keys.pool, pools)
  return mark !== undefined
}

/** A config that is no HASH is deleted like any other. */
async function readMark(redis: RedisConnection, keys: PoolKeys): Promise<Deletion | undefined> {
  return readDeletion(redis, keys).catch((error: unknown) => {
    if (error instanceof Error && error.message.startsWith('WRONGTYPE')) return undefined
    throw error
  })
}

async function readContents(
  redis: RedisConnection,
  keys: PoolKeys,
  hasBegun: boolean,
): Promise<PoolContents> {
  const [queued, started, depth, leasedReplicas] = await Promise.all([
    redis.zcard(keys.index('queued')),
    redis.zcard(keys.index('started')),
    readQueueDepth(redis, keys),
    listLeased(redis, keys),
  ])
  // Jobs of plain BullMQ producers are in the queue alone until they start. An earlier call leaves cancelled ones there.
  const inQueue = hasBegun ? 0 : depth.interactive + depth.batch + depth.delayed + depth.active
  return { unfinishedJobs: Math.max(queued + started, inQueue), leasedReplicas }
}

function refuseInUse(pool: string, replicas: readonly string[]): void {
  if (replicas.length === 0) return
  const [first = ''] = replicas
  throw new PoolError(
    'POOL_IN_USE',
    `pool ${pool} is in use: workers hold ${namesOf(replicas)}. Let running jobs end (tgi-pool drain ${first} --wait --pool ${pool}), stop the workers, then delete the pool`,
  )
}

function namesOf(replicas: readonly string[]): string {
  const more = replicas.length > 10 ? ` and ${replicas.length - 10} more` : ''
  return `replica${replicas.length === 1 ? '' : 's'} ${replicas.slice(0, 10).join(', ')}${more}`
}

async function cancelAll({ redis, keys, log, onSealed }: DeletePoolRequest): Promise<void> {
  const seal = errorSeal('CANCELLED', { message: 'the pool was deleted', pool_id: keys.pool })
  const cancel = async (jobId: string) => {
    const write = {
      jobId,
      expect: ANYTHING,
      entries: [seal],
      deadlineAt: 0,
      retentionMs: SEALED_FOR_MS,
    } as const
    const { written } = await log.write(write)
    if (written) await onSealed?.(jobId, seal)
    return written
  }
  const cancelIn = async (index: string) => {
    let count = 0
    // What is cancelled leaves this index; what is gone stays at its front.
    for (let skip = 0; ;) {
      const ids = await redis.zrange(index, String(skip), String(skip + PAGE - 1))
      if (ids.length === 0) return count
      for (let at = 0; at < ids.length; at += AT_ONCE) {
        const written = await Promise.all(ids.slice(at, at + AT_ONCE).map(cancel))
        count += written.filter(Boolean).length
        skip += written.filter((isWritten) => !isWritten).length
      }
    }
  }
  for (const state of ['queued', 'started'] as const) {
    // A job that has ended by itself leaves the index, too, and another one moves to a place that is skipped.
    while ((await cancelIn(keys.index(state))) > 0);
  }
}

async function leasesReleased(redis: RedisConnection, keys: PoolKeys): Promise<void> {
  for (const until = performance.now() + RELEASE_MS; ; await sleep(LOOK_MS)) {
    const leased = await listLeased(redis, keys)
    if (leased.length === 0) return
    if (performance.now() < until) continue
    throw new PoolError(
      'POOL_IN_USE',
      `pool ${keys.pool} is closed, but the workers of ${namesOf(leased)} did not stop within ${RELEASE_MS / 1000} s; stop them, then delete the pool again`,
    )
  }
}

async function removeKeys(redis: RedisConnection, keys: PoolKeys): Promise<void> {
  const all = { prefix: `${keys.queuePrefix}:`, keep: (key: string) => key === keys.config }
  for (let passes = 0; (await unlinkKeys(redis, all)) > 0; passes += 1) {
    if (passes < MAX_PASSES) continue
    throw new PoolError(
      'POOL_IN_USE',
      `pool ${keys.pool} is closed, but something still writes its keys; stop it, then delete the pool again`,
    )
  }
}

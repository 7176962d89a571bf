/**
 * Deletes a pool and all its keys. The order makes an interrupted deletion harmless, and lets the same call resume it:
 *
 * 1. `config` becomes a mark (pool/deletion.ts). From here on nothing is accepted, and workers of the pool stop.
 * 2. Unfinished jobs are cancelled: readers get a terminal event, and workers close their requests.
 * 3. Workers release their leases; the lease of a frozen or dead worker expires.
 * 4. Keys are removed, queues and streams alike, until none is found.
 * 5. The name is removed from `pools`, and for a day the mark says that the pool was deleted.
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
  /** Delete the pool even if workers hold leases; they stop. */
  readonly force: boolean
  readonly confirm?: ((contents: PoolContents) => void | Promise<void>) | undefined
  /** Called for each job that this call ended. */
  readonly onSealed?: ((jobId: string, seal: LogEntry) => Promise<void>) | undefined
}

/** How many jobs are cancelled at once. */
const AT_ONCE = 64
/** How many jobs one read of the index returns. */
const PAGE = 1000
/** How long workers may take to stop (ms): to see the mark and close, or, if one hangs, for its lease to expire. */
const RELEASE_MS = 20_000
const LOOK_MS = 50
/** Calls that started before the mark may still write; more passes than this mean a process that does not stop. */
const MAX_PASSES = 20
/** How long the events of a cancelled job stay if the deletion is interrupted (ms); else they are removed at once. */
const SEALED_FOR_MS = 60_000

/**
 * Deletes a pool. If a call was interrupted, the next one completes it. Deleting a pool again within a day removes anything written
 * since.
 *
 * @throws {@link PoolError} `POOL_UNAVAILABLE` if there is no such pool; `POOL_IN_USE` if workers hold leases; errors of `confirm`.
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
 * Prepares for a new pool of the same name: removes anything written since the deletion, then the mark. A no-op unless the pool's
 * deletion is done.
 */
export async function forgetDeletion(redis: RedisConnection, keys: PoolKeys): Promise<void> {
  if ((await readDeletion(redis, keys)) !== 'done') return
  await removeKeys(redis, keys)
  await clearDeletion(redis, keys)
}

/** Whether a deletion of the pool has started. @throws `POOL_UNAVAILABLE` if there is no such pool. */
async function findPool(redis: RedisConnection, keys: PoolKeys): Promise<boolean> {
  const { pools } = await readPoolNames(redis, keys.pools)
  const mark = await readMark(redis, keys)
  if (mark === undefined && !pools.includes(keys.pool)) throw unknownPoolError(keys.pool, pools)
  return mark !== undefined
}

/** Treats a config that is not a HASH as unmarked, so that such a pool can be deleted, too. */
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
  // Until they start, jobs of plain BullMQ producers exist only in the queue. An earlier call may have left cancelled jobs there.
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

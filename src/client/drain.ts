import { PoolError } from '../contract/error.ts'
import { parseOrThrow } from '../contract/format-issues.ts'
import { replicaIdSchema } from '../contract/ids.ts'
import type { PoolKeys } from '../contract/keys.ts'
import type { ReplicaEntry } from '../contract/replica-entry.ts'
import type { RedisConnection } from '../redis/connect.ts'
import { endDrain, graceSchema, listDrains, wishDrain } from '../replica/drain.ts'
import { listReplicas } from '../replica/registry.ts'

/** The outcome of a drain. */
export interface DrainOutcome {
  /** The replica. */
  readonly replica_id: string
  /** Whether it stops taking jobs now, or had already stopped. */
  readonly outcome: 'draining' | 'already_draining'
  /** When it was requested (ms since 1970, by Redis's clock). */
  readonly since: number
  /** Grace period for running attempts from then on (ms); absent: the worker's own. */
  readonly grace_ms?: number | undefined
  /** How many other replicas of the pool are ready and not draining; with 0, none serves it. */
  readonly ready_replicas: number
}

/** The outcome of an undrain. */
export interface UndrainOutcome {
  /** The replica. */
  readonly replica_id: string
  /** Whether it takes jobs again, or was not draining. */
  readonly outcome: 'undrained' | 'was_not_draining'
}

/**
 * Wishes that a replica drains, whatever state it is in.
 *
 * @throws {@link PoolError} `UNKNOWN_REPLICA`, `INVALID_PARAMS`.
 */
export async function drainReplica(
  redis: RedisConnection,
  keys: PoolKeys,
  replicaId: string,
  graceMs: number | undefined,
): Promise<DrainOutcome> {
  if (graceMs !== undefined) parseOrThrow(graceSchema, graceMs, 'grace time')
  const { replicas, drains } = await lookUp(redis, keys, replicaId)
  const wish = await wishDrain(redis, keys, replicaId, graceMs)
  const ready = replicas.filter(
    ({ replica_id: id, state }) => state === 'ready' && id !== replicaId && !drains.includes(id),
  )
  return {
    replica_id: replicaId,
    outcome: wish.already ? 'already_draining' : 'draining',
    since: wish.since,
    ...(wish.graceMs === undefined ? {} : { grace_ms: wish.graceMs }),
    ready_replicas: ready.length,
  }
}

/**
 * Withdraws the request. A replica without a worker can be undrained, too.
 *
 * @throws {@link PoolError} `UNKNOWN_REPLICA`.
 */
export async function undrainReplica(
  redis: RedisConnection,
  keys: PoolKeys,
  replicaId: string,
): Promise<UndrainOutcome> {
  await lookUp(redis, keys, replicaId)
  const ended = await endDrain(redis, keys, replicaId)
  return { replica_id: replicaId, outcome: ended ? 'undrained' : 'was_not_draining' }
}

/** Checks that the replica belongs to the pool: a worker has registered it, or it is already drained. */
async function lookUp(
  redis: RedisConnection,
  keys: PoolKeys,
  replicaId: string,
): Promise<{ replicas: readonly ReplicaEntry[]; drains: readonly string[] }> {
  parseOrThrow(replicaIdSchema, replicaId, 'replica id')
  const [replicas, drains] = await Promise.all([listReplicas(redis, keys), listDrains(redis, keys)])
  const known = [...new Set([...replicas.map(({ replica_id: id }) => id), ...drains])].toSorted()
  if (known.includes(replicaId)) return { replicas, drains }
  const there = known.length === 0 ? 'there are none' : `there are: ${known.slice(0, 10).join(', ')}`
  const more = known.length > 10 ? ` and ${known.length - 10} more` : ''
  throw new PoolError('UNKNOWN_REPLICA', `no replica ${replicaId} in pool ${keys.pool} (${there}${more})`)
}

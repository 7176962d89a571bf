/**
 * The mark of a pool that is being deleted or was deleted. It is then the only field of `config`, so every process that reads the config sees it:
 * it treats the pool as closed, and a worker does not create the pool again. A deletion writes the mark first and removes the
 * name from `pools` last, so an interrupted deletion is still listed and can be resumed.
 */
import { PoolError } from '../contract/error.ts'
import type { PoolKeys } from '../contract/keys.ts'
import { AT_LIMIT } from '../redis/at-limit.ts'
import type { RedisConnection } from '../redis/connect.ts'

/** No setting has a colon. */
const MARK = ':deletion'

/** `under_way`: keys are being removed, or the process that did so died. `done`: nothing else is left. */
export type Deletion = 'under_way' | 'done'

/**
 * How long the mark of a deleted pool stays (ms). Until then workers that start, or wake from a long sleep, stop instead of creating
 * the pool again.
 */
export const MARK_TTL_MS = 86_400_000

/** KEYS[1] config; ARGV field, value, TTL (ms; 0: none). Settings go with the pool. */
const SET_MARK = `${AT_LIMIT}
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if ARGV[3] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end`

/** KEYS[1] config; ARGV field, value. */
const CLEAR_MARK = `
if redis.call('HGET', KEYS[1], ARGV[1]) == ARGV[2] then redis.call('DEL', KEYS[1]) end`

/** Marks a pool; it is closed from here on. */
export async function markDeletion(
  redis: RedisConnection,
  keys: PoolKeys,
  deletion: Deletion,
): Promise<void> {
  const ttlMs = deletion === 'done' ? MARK_TTL_MS : 0
  await redis.eval(SET_MARK, 1, keys.config, MARK, deletion, ttlMs)
}

/** Removes the mark of a pool whose deletion is done, so that it can be created anew. */
export async function clearDeletion(redis: RedisConnection, keys: PoolKeys): Promise<void> {
  await redis.eval(CLEAR_MARK, 1, keys.config, MARK, 'done' satisfies Deletion)
}

/** The mark of a pool, if it has one. HGETALL, because users of `ops/redis.acl` may not HGET. */
export async function readDeletion(redis: RedisConnection, keys: PoolKeys): Promise<Deletion | undefined> {
  return deletionIn(await redis.hgetall(keys.config))
}

/** The mark among the fields of a config. */
export function deletionIn(fields: Readonly<Record<string, string>>): Deletion | undefined {
  const mark = fields[MARK]
  if (mark === undefined) return undefined
  return mark === 'done' ? 'done' : 'under_way'
}

/** The error of calls on such a pool. */
export function deletedPoolError(pool: string, deletion: Deletion): PoolError {
  return new PoolError(
    'POOL_UNAVAILABLE',
    deletion === 'done'
      ? `pool ${JSON.stringify(pool)} was deleted; to create a new one: tgi-pool pool create --pool ${pool}`
      : `pool ${JSON.stringify(pool)} is being deleted. If that was interrupted, resume it with: tgi-pool pool delete ${pool}`,
  )
}

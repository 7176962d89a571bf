import { PoolError } from '../contract/error.ts'
import { parseOrThrow } from '../contract/format-issues.ts'
import { poolIdSchema } from '../contract/ids.ts'
import { poolKeys, poolsKey } from '../contract/keys.ts'
import type { PoolKeys } from '../contract/keys.ts'
import { DEFAULT_POOL_CONFIG, poolConfigSchema } from '../contract/pool-config.ts'
import type { PoolConfig } from '../contract/pool-config.ts'
import { strictFields } from '../contract/unknown-fields.ts'
import { AT_LIMIT } from '../redis/at-limit.ts'
import type { RedisConnection } from '../redis/connect.ts'
import { bareCause, isConnectionError, isForbidden, isRefusal } from '../redis/fault.ts'
import { deletedPoolError, deletionIn, readDeletion } from './deletion.ts'
import type { Deletion } from './deletion.ts'

/** Settings of a pool to set; the others stay as they are. */
export type PoolConfigChange = Partial<PoolConfig>

/**
 * A pool's config.
 *
 * @throws {@link PoolError} `POOL_UNAVAILABLE` if there is no such pool: a misspelt name is refused at once
 * instead of waiting in a queue that no worker reads.
 */
export async function readPoolConfig(redis: RedisConnection, keys: PoolKeys): Promise<PoolConfig> {
  const [known, fields] = await Promise.all([
    redis.sismember(keys.pools, keys.pool),
    redis.hgetall(keys.config),
  ])
  if (known !== 1 && deletionIn(fields) === undefined) throw await unknownPool(redis, keys)
  return parsePoolConfig(fields, keys.pool)
}

function refuseDeleted(deletion: Deletion | undefined, pool: string): void {
  if (deletion !== undefined) throw deletedPoolError(pool, deletion)
}

/** Reads the HASH of a pool's config: one JSON value a field. */
function parsePoolConfig(fields: Readonly<Record<string, string>>, pool: string): PoolConfig {
  refuseDeleted(deletionIn(fields), pool)
  const values = Object.entries(fields).map(([field, text]) => {
    try {
      return [field, JSON.parse(text) as unknown]
    } catch {
      throw new PoolError('CONFIG', `config of pool ${pool}: ${field}: expected JSON`)
    }
  })
  return parseOrThrow(poolConfigSchema, Object.fromEntries(values), `config of pool ${pool}`)
}

async function unknownPool(redis: RedisConnection, keys: PoolKeys, cause?: unknown): Promise<PoolError> {
  const { pools } = await readPoolNames(redis, keys.pools)
  return unknownPoolError(keys.pool, pools, cause)
}

/** The error for a pool that does not exist; `cause`: why it could not be created now. */
export function unknownPoolError(pool: string, pools: readonly string[], cause?: unknown): PoolError {
  const known = pools.length === 0 ? 'there are none yet' : `there are: ${pools.slice(0, 10).join(', ')}`
  const advice =
    cause === undefined
      ? 'Start a worker for it, or'
      : 'This Redis user may not create pools; use one that may (ops/redis.acl: operator)'
  return new PoolError(
    'POOL_UNAVAILABLE',
    `no pool ${JSON.stringify(pool)} (${known}). ${advice}: tgi-pool pool create --pool ${pool}`,
    cause === undefined ? undefined : { cause: bareCause(cause) },
  )
}

/**
 * The names in the SET of pools, sorted. Invalid names are listed apart: anyone who may write the SET can write anything, and one
 * bad name must not keep the pools from being served.
 *
 * @param key see `poolsKey`.
 */
export async function readPoolNames(
  redis: RedisConnection,
  key: string,
): Promise<{ readonly pools: readonly string[]; readonly invalid: readonly string[] }> {
  const names = (await redis.smembers(key)).toSorted()
  const { true: pools = [], false: invalid = [] } = Object.groupBy(names, (name) =>
    poolIdSchema.safeParse(name).success ? 'true' : 'false',
  )
  return { pools, invalid }
}

/** The error for names that {@link readPoolNames} calls invalid. */
export function invalidNamesError(invalid: readonly string[]): PoolError {
  const [first = ''] = invalid
  const others = invalid.length > 1 ? ` and ${invalid.length - 1} more` : ''
  return new PoolError(
    'CONFIG',
    `list of pools: expected names of 1 to 63 of a-z 0-9 . -, got ${JSON.stringify(first.slice(0, 64))}${others}; skipped`,
  )
}

/**
 * Makes a pool unless it is there, and answers its config. What is already set stays.
 *
 * @throws {@link PoolError} `INVALID_PARAMS` for a bad name or value; `POOL_UNAVAILABLE` for a pool that was deleted.
 */
export async function ensurePool(
  redis: RedisConnection,
  keys: PoolKeys,
  change: PoolConfigChange = {},
): Promise<PoolConfig> {
  parseOrThrow(poolIdSchema, keys.pool, 'pool')
  const checked = checkChange(change)
  checkRetention(checked, DEFAULT_POOL_CONFIG)
  const known = await redis.sismember(keys.pools, keys.pool)
  // After that: a deletion marks the config before it takes the name out.
  refuseDeleted(await readDeletion(redis, keys), keys.pool)
  await setFields(redis, keys, 'HSETNX', checked)
  // Last, and by itself: on a Cluster it may be on another node. Until then the pool is not there, as it was. A worker that
  // starts when Redis is out of memory finds its pool there.
  if (known !== 1) await addName(redis, keys)
  return readPoolConfig(redis, keys)
}

/** Adds the pool to the SET of all; a worker's user may not, since one that names pools could name any number of them. */
async function addName(redis: RedisConnection, keys: PoolKeys): Promise<void> {
  try {
    await redis.sadd(keys.pools, keys.pool)
  } catch (error) {
    throw isForbidden(error) ? await unknownPool(redis, keys, error) : error
  }
}

/**
 * Changes a pool's config; jobs that are already accepted keep what they were accepted with.
 *
 * @throws {@link PoolError} `INVALID_PARAMS` for a bad value, `POOL_UNAVAILABLE` for an unknown pool.
 */
export async function changePoolConfig(
  redis: RedisConnection,
  keys: PoolKeys,
  change: PoolConfigChange,
): Promise<PoolConfig> {
  const checked = checkChange(change)
  checkRetention(checked, await readPoolConfig(redis, keys))
  await setFields(redis, keys, 'HSET', checked)
  return readPoolConfig(redis, keys)
}

/** KEYS[1] config; ARGV[1] HSET or HSETNX, then fields and values in turn. */
const SET_FIELDS = `${AT_LIMIT}
for i = 2, #ARGV, 2 do redis.call(ARGV[1], KEYS[1], ARGV[i], ARGV[i + 1]) end`

async function setFields(
  redis: RedisConnection,
  keys: PoolKeys,
  command: 'HSET' | 'HSETNX',
  change: PoolConfigChange,
): Promise<void> {
  const fields = Object.entries(change).flatMap(([field, value]) => [field, JSON.stringify(value)])
  if (fields.length > 0) await redis.eval(SET_FIELDS, 1, keys.config, command, ...fields)
}

function checkChange(change: PoolConfigChange): Partial<PoolConfig> {
  const whole = parseOrThrow(strictFields(poolConfigSchema.shape), change, 'pool config')
  return Object.fromEntries(Object.entries(whole).filter(([field]) => Object.hasOwn(change, field)))
}

/** Pools of earlier versions may have a longer retention than the default bound; they keep it until either is changed. */
function checkRetention(change: PoolConfigChange, config: PoolConfig): void {
  if (change.retention_ms === undefined && change.max_retention_ms === undefined) return
  const { retention_ms: usual, max_retention_ms: longest } = { ...config, ...change }
  if (usual <= longest) return
  throw new PoolError(
    'INVALID_PARAMS',
    `pool config: retention_ms: expected at most ${longest} (max_retention_ms), got ${usual}`,
  )
}

/** A pool in a list. */
export interface ListedPool {
  /** The pool's name. */
  readonly pool_id: string
  /** Its settings. Absent if they cannot be read. */
  readonly config?: PoolConfig
  /** Why its settings cannot be read. Absent if they can. */
  readonly error?: string
}

/** All pools, by name, with their configs. A config that cannot be read affects only its own pool. */
export async function listPools(redis: RedisConnection, prefix?: string): Promise<ListedPool[]> {
  const { pools } = await readPoolNames(redis, poolsKey(prefix))
  return Promise.all(
    pools.map(async (pool): Promise<ListedPool> => {
      try {
        const fields = await redis.hgetall(poolKeys(pool, prefix).config)
        return { pool_id: pool, config: parsePoolConfig(fields, pool) }
      } catch (error) {
        if (isConnectionError(error) || isRefusal(error)) throw error
        const { message } = bareCause(error)
        return {
          pool_id: pool,
          error: error instanceof PoolError ? message : `config of pool ${pool}: ${message}`,
        }
      }
    }),
  )
}

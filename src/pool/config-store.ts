import { PoolError } from '../contract/error.ts'
import { parseOrThrow } from '../contract/format-issues.ts'
import { poolIdSchema } from '../contract/ids.ts'
import { poolKeys, poolsKey } from '../contract/keys.ts'
import type { PoolKeys } from '../contract/keys.ts'
import { poolConfigSchema } from '../contract/pool-config.ts'
import type { PoolConfig } from '../contract/pool-config.ts'
import type { RedisConnection } from '../redis/connect.ts'

/** Fields of a config that differ from the defaults. */
export type PoolConfigChange = Partial<PoolConfig>

/**
 * A pool's config.
 *
 * @throws {@link PoolError} `POOL_UNAVAILABLE` when nobody has made the pool: a misspelt name is told at once
 * instead of waiting in a queue that no worker reads.
 */
export async function readPoolConfig(redis: RedisConnection, keys: PoolKeys): Promise<PoolConfig> {
  const [known, fields] = await Promise.all([
    redis.sismember(keys.pools, keys.pool),
    redis.hgetall(keys.config),
  ])
  if (known !== 1) throw await unknownPool(redis, keys)
  return parsePoolConfig(fields, keys.pool)
}

/** Reads the HASH of a pool's config: one JSON value a field. */
function parsePoolConfig(fields: Readonly<Record<string, string>>, pool: string): PoolConfig {
  const values = Object.entries(fields).map(([field, text]) => {
    try {
      return [field, JSON.parse(text) as unknown]
    } catch {
      throw new PoolError('CONFIG', `config of pool ${pool}: ${field}: expected JSON`)
    }
  })
  return parseOrThrow(poolConfigSchema, Object.fromEntries(values), `config of pool ${pool}`)
}

async function unknownPool(redis: RedisConnection, keys: PoolKeys): Promise<PoolError> {
  const pools = (await redis.smembers(keys.pools)).toSorted()
  const known = pools.length === 0 ? 'there are none yet' : `there are: ${pools.slice(0, 10).join(', ')}`
  return new PoolError(
    'POOL_UNAVAILABLE',
    `no pool ${JSON.stringify(keys.pool)} (${known}). Start a worker for it, or: tgi-pool pool create --pool ${keys.pool}`,
  )
}

/**
 * Makes a pool unless it is there, and answers its config. What is already set stays.
 *
 * @throws {@link PoolError} `INVALID_PARAMS` for a bad name or value.
 */
export async function ensurePool(
  redis: RedisConnection,
  keys: PoolKeys,
  change: PoolConfigChange = {},
): Promise<PoolConfig> {
  parseOrThrow(poolIdSchema, keys.pool, 'pool')
  const checked = checkChange(change)
  const fields = Object.entries(checked)
  if (fields.length > 0) {
    const pipeline = redis.multi()
    for (const [field, value] of fields) pipeline.hsetnx(keys.config, field, JSON.stringify(value))
    await pipeline.exec()
  }
  // Last, and by itself: on a Cluster it may be on another node. Until then the pool is not there, as it was.
  await redis.sadd(keys.pools, keys.pool)
  return readPoolConfig(redis, keys)
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
  await readPoolConfig(redis, keys)
  for (const [field, value] of Object.entries(checked))
    await redis.hset(keys.config, field, JSON.stringify(value))
  return readPoolConfig(redis, keys)
}

function checkChange(change: PoolConfigChange): Partial<PoolConfig> {
  const whole = parseOrThrow(poolConfigSchema.strict(), change, 'pool config')
  return Object.fromEntries(Object.entries(whole).filter(([field]) => Object.hasOwn(change, field)))
}

/** All pools, by name, with their configs. */
export async function listPools(
  redis: RedisConnection,
  prefix?: string,
): Promise<{ pool_id: string; config: PoolConfig }[]> {
  const pools = (await redis.smembers(poolsKey(prefix))).toSorted()
  return Promise.all(
    pools.map(async (pool) => ({
      pool_id: pool,
      config: parsePoolConfig(await redis.hgetall(poolKeys(pool, prefix).config), pool),
    })),
  )
}

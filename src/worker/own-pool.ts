import type { PoolKeys } from '../contract/keys.ts'
import type { PoolConfig } from '../contract/pool-config.ts'
import { ensurePool } from '../pool/config-store.ts'
import { fillQueueMeta } from '../queue/queue-meta.ts'
import type { RedisConnection } from '../redis/connect.ts'
import { isForbidden } from '../redis/fault.ts'

/**
 * Returns the config of a worker's pool. Creates the pool if it does not exist and the Redis user may: a Redis without a file
 * comes back empty.
 *
 * @throws `PoolError` `POOL_UNAVAILABLE` if the user may not.
 */
export async function openOwnPool(redis: RedisConnection, keys: PoolKeys): Promise<PoolConfig> {
  const config = await ensurePool(redis, keys)
  await fillQueueMeta(redis, keys).catch((error: unknown) => {
    // An ACL file from before this write, under which producers still write it themselves.
    if (!isForbidden(error)) throw error
  })
  return config
}

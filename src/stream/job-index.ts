import { OVER_STATES } from '../contract/job-states.ts'
import type { PoolKeys } from '../contract/keys.ts'
import { redisTimeMs } from '../redis/connect.ts'
import type { RedisConnection } from '../redis/connect.ts'

/** Takes a job without a stream out of the index. */
export async function dropFromIndex(redis: RedisConnection, keys: PoolKeys, jobId: string): Promise<void> {
  await Promise.all(keys.indexes.map((key) => redis.zrem(key, jobId)))
}

/** Takes jobs out of the index whose streams have expired by now, so that the index does not outgrow what it points at. */
export async function trimIndex(redis: RedisConnection, keys: PoolKeys, retentionMs: number): Promise<void> {
  const until = (await redisTimeMs(redis, keys.config)) - retentionMs
  await Promise.all(OVER_STATES.map((state) => redis.zremrangebyscore(keys.index(state), '-inf', until)))
}

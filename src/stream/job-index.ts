import { OVER_STATES } from '../contract/job-states.ts'
import type { PoolKeys } from '../contract/keys.ts'
import { redisTimeMs } from '../redis/connect.ts'
import type { RedisConnection } from '../redis/connect.ts'

/** Removes a job without a stream from the index. */
export async function dropFromIndex(redis: RedisConnection, keys: PoolKeys, jobId: string): Promise<void> {
  await Promise.all(keys.indexes.map((key) => redis.zrem(key, jobId)))
}

/** Removes jobs whose streams have expired, so that the index does not outgrow them. */
export async function trimIndex(redis: RedisConnection, keys: PoolKeys, retentionMs: number): Promise<void> {
  const until = (await redisTimeMs(redis, keys.config)) - retentionMs
  await Promise.all(OVER_STATES.map((state) => redis.zremrangebyscore(keys.index(state), '-inf', until)))
}

import { OVER_STATES } from '../contract/job-states.ts'
import type { PoolKeys } from '../contract/keys.ts'
import type { Cursor } from '../contract/stream-id.ts'
import { redisTimeMs } from '../redis/connect.ts'
import type { RedisConnection } from '../redis/connect.ts'

/**
 * KEYS the job's stream, `deadlines`, batch jobs, `expiry`, the index; ARGV job id, the id that must be the stream's last one now
 * ('0-0': there is no stream; a key of another type counts as none), else nothing is changed. After the read, a job may be enqueued, or
 * a failover may bring its stream back: without this condition, an accepted job would be left without a deadline.
 */
const FORGET_DEADLINE = `
local top = redis.pcall('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)
if top.err and not string.find(top.err, 'WRONGTYPE', 1, true) then return top end
local last = top[1] and top[1][1] or '0-0'
if last ~= ARGV[2] then return end
redis.call('ZREM', KEYS[2], ARGV[1])
if last == '0-0' then
  for i = 3, #KEYS do redis.call('ZREM', KEYS[i], ARGV[1]) end
end`

/**
 * Removes the deadline of a job that is over or gone, and a job without a stream from the index, too. A no-op when its stream
 * no longer ends as read.
 *
 * @param last the last id of its stream, as read before: the seal, or `START` when there is none.
 */
export async function forgetDeadline(
  redis: RedisConnection,
  keys: PoolKeys,
  jobId: string,
  last: Cursor,
): Promise<void> {
  const touched = [keys.events(jobId), keys.deadlines, keys.batchIndex, keys.expiry, ...keys.indexes]
  await redis.eval(FORGET_DEADLINE, touched.length, ...touched, jobId, last)
}

/** How many jobs one call of the script below removes at most. */
const TRIM_COUNT = 1000

/** KEYS `expiry`, the index of finished jobs; ARGV now (ms since 1970), how many. Returns how many were removed. */
const TRIM = `
local gone = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', ARGV[1], 'LIMIT', 0, ARGV[2])
if #gone == 0 then return 0 end
for i = 1, #KEYS do redis.call('ZREM', KEYS[i], unpack(gone)) end
return #gone`

/**
 * Removes jobs whose streams have expired, so that the index does not outgrow them. Jobs that ended before streams recorded their
 * expiry are removed after the longest retention.
 */
export async function trimIndex(redis: RedisConnection, keys: PoolKeys, longestMs: number): Promise<void> {
  const now = await redisTimeMs(redis, keys.config)
  const over = OVER_STATES.map((state) => keys.index(state))
  let removed: unknown
  do removed = await redis.eval(TRIM, 1 + over.length, keys.expiry, ...over, now, TRIM_COUNT)
  while (removed === TRIM_COUNT)
  await redis.zremrangebyscore(keys.batchIndex, '-inf', now)
  await Promise.all(over.map((index) => redis.zremrangebyscore(index, '-inf', now - longestMs)))
}

/**
 * The wish that a replica takes nothing more. It is kept in Redis, so that it outlives the worker: a replica that is
 * drained stays so, whichever worker serves it, until an operator undrains it. Its worker looks on a beat; a message on the control
 * channel makes it look at once.
 */
import { z } from 'zod'
import { PoolError } from '../contract/error.ts'
import { formatIssues } from '../contract/format-issues.ts'
import type { PoolKeys } from '../contract/keys.ts'
import { MAX_GRACE_MS } from '../contract/limits.ts'
import { AT_LIMIT } from '../redis/at-limit.ts'
import { redisTimeMs } from '../redis/connect.ts'
import type { RedisConnection } from '../redis/connect.ts'

/** Whole milliseconds in which running attempts may finish. */
export const graceSchema = z.number().int().min(0).max(MAX_GRACE_MS)

const wishSchema = z.object({ since: z.number().int(), grace_ms: graceSchema.optional() })

/** KEYS[1] `drains`; ARGV replica id, wish. */
const WISH = `${AT_LIMIT}redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])`

/** That a replica is to take nothing more. */
export interface DrainWish {
  /** When it was wished (ms since 1970, by Redis's clock); the grace time counts from here. */
  readonly since: number
  /** How long running attempts may take to finish (ms); undefined: as long as its worker gives them when it stops. */
  readonly graceMs: number | undefined
}

/**
 * Wishes that a replica drains. One that is wished already keeps its time, unless another grace time is given.
 *
 * @returns the wish that stands now, and whether there was one already.
 */
export async function wishDrain(
  redis: RedisConnection,
  keys: PoolKeys,
  replicaId: string,
  graceMs?: number,
): Promise<DrainWish & { readonly already: boolean }> {
  const before = await readDrain(redis, keys, replicaId)
  const already = before !== undefined
  if (before !== undefined && graceMs === undefined) {
    await redis.spublish(keys.controlChannel, replicaId)
    return { ...before, already }
  }
  const wish: z.infer<typeof wishSchema> = { since: await redisTimeMs(redis, keys.config) }
  if (graceMs !== undefined) wish.grace_ms = graceMs
  await redis.eval(WISH, 1, keys.drains, replicaId, JSON.stringify(wish))
  await redis.spublish(keys.controlChannel, replicaId)
  return { since: wish.since, graceMs, already }
}

/** Takes the wish back. @returns whether there was one. */
export async function endDrain(redis: RedisConnection, keys: PoolKeys, replicaId: string): Promise<boolean> {
  const ended = (await redis.hdel(keys.drains, replicaId)) === 1
  await redis.spublish(keys.controlChannel, replicaId)
  return ended
}

/**
 * The wish for one replica, if there is one.
 *
 * @throws {@link PoolError} `INTERNAL` for a wish that cannot be read.
 */
export async function readDrain(
  redis: RedisConnection,
  keys: PoolKeys,
  replicaId: string,
): Promise<DrainWish | undefined> {
  const text = await redis.hget(keys.drains, replicaId)
  return text === null ? undefined : parseWish(text, replicaId)
}

/** The replicas of a pool with a drain request, with or without a worker. */
export async function listDrains(redis: RedisConnection, keys: PoolKeys): Promise<string[]> {
  return (await redis.hkeys(keys.drains)).toSorted()
}

function parseWish(text: string, replicaId: string): DrainWish {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw new PoolError('INTERNAL', `drain of replica ${replicaId}: not JSON`, { cause })
  }
  const result = wishSchema.safeParse(value)
  if (!result.success)
    throw new PoolError('INTERNAL', `drain of replica ${replicaId}: ${formatIssues(result.error)}`)
  return { since: result.data.since, graceMs: result.data.grace_ms }
}

/**
 * Listens for wishes of operators, on a connection that may have other listeners. Pub/sub only wakes: what is lost
 * while the line is down is in the keys.
 *
 * Resolves when the first subscription is up.
 *
 * @param onWish a request for this pool arrived, or the subscription is up again and may have missed it.
 */
export async function listenForWishes(
  redis: RedisConnection,
  keys: PoolKeys,
  onWish: () => void,
): Promise<void> {
  redis.on('smessage', (channel: string) => {
    if (channel === keys.controlChannel) onWish()
  })
  // After each reconnection, since redis/connect.ts does not resubscribe.
  redis.on('ready', () => {
    redis.ssubscribe(keys.controlChannel).then(onWish, () => undefined)
  })
  await redis.ssubscribe(keys.controlChannel)
  onWish()
}

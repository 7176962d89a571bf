import { QUEUE_NAMES } from '../contract/keys.ts'
import type { PoolKeys } from '../contract/keys.ts'
import { AT_LIMIT } from '../redis/at-limit.ts'
import type { RedisConnection } from '../redis/connect.ts'

/** BullMQ's own default, and where it stores it (BullMQ 6, commands/includes/getOrSetMaxEvents.lua). */
const MAX_EVENTS = { field: 'opts.maxLenEvents', count: 10_000 } as const

const keyOf = (keys: PoolKeys, name: string, type: 'meta' | 'marker') => `${keys.queuePrefix}:${name}:${type}`

/** KEYS[1] the queue's `meta`; ARGV field, value. */
const SET_ONCE = `${AT_LIMIT}redis.call('HSETNX', KEYS[1], ARGV[1], ARGV[2])`

/**
 * Writes into each queue's `meta` what BullMQ's scripts would write there with the first job. A Redis user for producers may
 * not write `meta`, since that would let it pause the queue; so the process that creates a pool does. What exists stays.
 */
export async function fillQueueMeta(redis: RedisConnection, keys: PoolKeys): Promise<void> {
  const { field, count } = MAX_EVENTS
  await Promise.all(
    Object.values(QUEUE_NAMES).map((name) =>
      redis.eval(SET_ONCE, 1, keyOf(keys, name, 'meta'), field, count),
    ),
  )
}

/**
 * Removes what BullMQ's scripts and ours write although a queue has no job: `meta` and the marker. For a worker that ran on after its
 * pool was deleted.
 */
export async function clearEmptyQueues(redis: RedisConnection, keys: PoolKeys): Promise<void> {
  const names = Object.values(QUEUE_NAMES)
  await redis.unlink(...names.flatMap((name) => [keyOf(keys, name, 'meta'), keyOf(keys, name, 'marker')]))
}

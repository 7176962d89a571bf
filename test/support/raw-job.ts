import type { Redis } from 'ioredis'
import { QUEUE_NAMES } from '../../src/contract/keys.ts'
import type { PoolKeys } from '../../src/contract/keys.ts'
import { jobKey } from '../../src/queue/queue-depth.ts'

/** Where the hash of an interactive job is. */
export function rawJobKey(keys: PoolKeys, id: string): string {
  return jobKey(keys, QUEUE_NAMES.interactive, id)
}

/** Puts a job in the queue with plain Redis commands, field by field, without BullMQ. */
export async function putRawJob(
  redis: Redis,
  keys: PoolKeys,
  id: string,
  fields: Readonly<Record<string, string>>,
): Promise<void> {
  const queue = (type: string) => `${keys.queuePrefix}:${QUEUE_NAMES.interactive}:${type}`
  await redis
    .multi()
    .hset(rawJobKey(keys, id), { name: 'generate', timestamp: '1', ...fields })
    .lpush(queue('wait'), id)
    .zadd(queue('marker'), 0, '0')
    .exec()
}

import { Cluster } from 'ioredis'
import type { Redis } from 'ioredis'
import { primaryOf } from './cluster.ts'
import type { RedisConnection } from './connect.ts'

/** Keys that one SCAN looks at, and that one UNLINK removes: a millisecond of Redis's time each. */
const PAGE = 500

/** Throws if the Redis user may not find keys: to be asked before anything is changed. */
export async function mustBeAllowedToScan(redis: RedisConnection, prefix: string): Promise<void> {
  await nodeOf(redis, prefix).scan('0', 'COUNT', 1)
}

/** Which keys to remove. */
export interface UnlinkRequest {
  /** What their names begin with, up to the hash tag at least: on a Cluster only the node of that slot is asked. */
  readonly prefix: string
  readonly keep: (key: string) => boolean
}

/**
 * Removes every key with a prefix, a page at a time, so that Redis serves others in between. A key that is written meanwhile may be
 * missed.
 *
 * @returns how many keys were found.
 */
export async function unlinkKeys(redis: RedisConnection, { prefix, keep }: UnlinkRequest): Promise<number> {
  const node = nodeOf(redis, prefix)
  let [cursor, found] = ['0', 0]
  do {
    const [next, page] = await node.scan(cursor, 'MATCH', `${escapeGlob(prefix)}*`, 'COUNT', PAGE)
    cursor = next
    const keys = page.filter((key) => !keep(key))
    found += keys.length
    if (keys.length > 0) await redis.unlink(...keys)
  } while (cursor !== '0')
  return found
}

function nodeOf(redis: RedisConnection, key: string): Redis {
  const node = redis instanceof Cluster ? primaryOf(redis, key) : redis
  if (node === undefined) throw new Error('CLUSTERDOWN the node of the keys is not known')
  return node
}

/** A text as a pattern that matches it alone. */
function escapeGlob(text: string): string {
  return text.replaceAll(/[\\*?[\]^]/g, String.raw`\$&`)
}

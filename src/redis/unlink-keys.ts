import { Cluster } from 'ioredis'
import type { Redis } from 'ioredis'
import { primaryOf } from './cluster.ts'
import type { RedisConnection } from './connect.ts'

/** Keys that one SCAN looks at, and that one UNLINK removes: a millisecond of Redis's time each. */
const PAGE = 500

/** Throws if the Redis user may not SCAN. Call it before changing anything. */
export async function mustBeAllowedToScan(redis: RedisConnection, prefix: string): Promise<void> {
  await nodeOf(redis, prefix).scan('0', 'COUNT', 1)
}

/** Which keys to remove. */
export interface UnlinkRequest {
  /** The prefix of their names, including the hash tag: on a Cluster only the node of that slot is scanned. */
  readonly prefix: string
  readonly keep: (key: string) => boolean
}

/**
 * Removes every key with a prefix, a page at a time, so that Redis can serve others in between. A key written meanwhile may be
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

/** Escapes a text so that, as a pattern, it matches only itself. */
function escapeGlob(text: string): string {
  return text.replaceAll(/[\\*?[\]^]/g, String.raw`\$&`)
}

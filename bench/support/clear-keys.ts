import type { Redis } from 'ioredis'

/** Deletes every key of a pattern: what earlier rounds have left would make later ones slower, Redis's memory above all. */
export async function clearKeys(redis: Redis, pattern: string): Promise<void> {
  for await (const keys of redis.scanStream({ match: pattern, count: 1000 })) {
    if (Array.isArray(keys) && keys.length > 0) await redis.unlink(keys as string[])
  }
}

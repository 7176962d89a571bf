import type { Redis } from 'ioredis'
import type { PoolKeys } from '../contract/keys.ts'

/** Who listens for sealed jobs. */
export interface WakeUpOptions {
  /** A connection of this listener's own; the caller closes it. */
  readonly redis: Redis
  readonly keys: PoolKeys
  /** A job was sealed, by anybody. */
  readonly onSealed: (jobId: string) => void
  /** The subscription is up, again or for the first time: messages may have been lost, look at the streams. */
  readonly onSubscribed: () => void
}

/** How often the subscription is asked for again (ms). */
const BEAT_MS = 5000

/**
 * Listens for seals. Pub/sub only wakes: what is lost while the line is down is in the streams.
 *
 * Resolves when the first subscription is up. Sharded pub/sub serves a single server and a Cluster alike.
 */
export async function listenForSeals(options: WakeUpOptions): Promise<void> {
  const { redis, keys } = options
  redis.on('smessage', (channel: string, jobId: string) => {
    if (channel === keys.cancelChannel) options.onSealed(jobId)
  })
  // After each reconnection, since redis/connect.ts does not resubscribe.
  redis.on('ready', () => {
    redis.ssubscribe(keys.cancelChannel).then(options.onSubscribed, () => undefined)
  })
  // A connection that is silent by nature does not notice that its server froze, or that its slot moved to another node.
  const beat = setInterval(() => void redis.ssubscribe(keys.cancelChannel).catch(() => undefined), BEAT_MS)
  redis.once('end', () => clearInterval(beat))
  await redis.ssubscribe(keys.cancelChannel)
  options.onSubscribed()
}

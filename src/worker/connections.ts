import type { Redis } from 'ioredis'
import { PoolError } from '../contract/error.ts'
import type { PoolKeys } from '../contract/keys.ts'
import { redactUrl } from '../redis/address.ts'
import { connectRedis, connectToShard, disconnectRedis } from '../redis/connect.ts'
import type { RedisConnection } from '../redis/connect.ts'
import type { Logger } from '../runtime/log.ts'

/** A worker's lines to Redis, one a purpose; all but the first lead to its pool's shard. */
export interface WorkerConnections {
  /** Registry, lease, config, sweeps of all pools. */
  readonly commands: RedisConnection
  /** The event log. */
  readonly writer: Redis
  /** BullMQ's. */
  readonly queue: Redis
  /** Wake-ups. */
  readonly subscriber: Redis
  close(): void
}

/**
 * Opens them all and looks whether this Redis will do.
 *
 * @throws {@link PoolError} `REDIS_UNAVAILABLE`, or `CONFIG` for a server older than 7.
 */
export async function openConnections(
  url: string,
  keys: PoolKeys,
  logger: Logger,
): Promise<WorkerConnections> {
  const open: RedisConnection[] = []
  const connect = async (role: 'writer' | 'queue' | 'blocking') => {
    const redis = await connectToShard(url, keys.config, { role })
    open.push(redis)
    return redis
  }
  const close = () => {
    for (const redis of open) disconnectRedis(redis)
  }
  try {
    const commands = await connectRedis(url, { role: 'commands' })
    open.push(commands)
    await checkServer(commands, url, logger)
    const hush = logOutages(commands, url, logger)
    return {
      commands,
      writer: await connect('writer'),
      queue: await connect('queue'),
      subscriber: await connect('blocking'),
      close() {
        hush()
        close()
      },
    }
  } catch (error) {
    close()
    throw error
  }
}

/** A shorter interruption is no outage (ms): connections to a former primary are closed again and again. */
const OUTAGE_MS = 250

/**
 * Logs when the connection to Redis is lost and when it is restored, once each. One connection is enough: all are lost together.
 *
 * @returns stops logging.
 */
function logOutages(redis: RedisConnection, url: string, logger: Logger): () => void {
  let since = 0
  let isLogged = false
  let soon: NodeJS.Timeout | undefined

  function away(): void {
    if (isLogged || soon !== undefined) return
    since = performance.now()
    soon = setTimeout(() => {
      soon = undefined
      isLogged = true
      logger.warn({ redis: redactUrl(url) }, 'Redis connection lost')
    }, OUTAGE_MS)
  }

  function back(): void {
    clearTimeout(soon)
    soon = undefined
    if (!isLogged) return
    isLogged = false
    const outageMs = Math.round(performance.now() - since)
    logger.info({ redis: redactUrl(url), outage_ms: outageMs }, 'Redis connection restored')
  }

  redis.on('close', away).on('ready', back)
  return () => {
    clearTimeout(soon)
    redis.off('close', away).off('ready', back)
  }
}

/** Refuses a server that is too old and warns about settings that lose data. */
async function checkServer(redis: RedisConnection, url: string, logger: Logger): Promise<void> {
  const info = await redis.info('server')
  const version = /^(?:valkey_version|redis_version):(\S+)/m.exec(info)?.[1] ?? 'unknown'
  const major = Number(version.split('.')[0])
  if (Number.isFinite(major) && major < 7) {
    throw new PoolError('CONFIG', `Redis at ${redactUrl(url)}: expected version 7 or newer, got ${version}`)
  }
  const policy = /^maxmemory_policy:(\S+)/m.exec(await redis.info('memory'))?.[1]
  if (policy !== undefined && policy !== 'noeviction') {
    logger.warn(
      { got: policy, expected: 'noeviction' },
      'Redis may evict keys when memory is full: jobs and events would be lost. Set maxmemory-policy noeviction',
    )
  }
}

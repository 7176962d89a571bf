import type { Redis } from 'ioredis'
import { PoolError } from '../contract/error.ts'
import { connectRedis, disconnectRedis, redactUrl } from '../redis/connect.ts'
import type { Logger } from '../runtime/log.ts'

/** A worker's lines to Redis, one a purpose. */
export interface WorkerConnections {
  /** Registry, lease, config, sweeps. */
  readonly commands: Redis
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
export async function openConnections(url: string, logger: Logger): Promise<WorkerConnections> {
  const open: Redis[] = []
  const connect = async (role: 'commands' | 'writer' | 'queue' | 'blocking') => {
    const redis = await connectRedis(url, { role })
    open.push(redis)
    return redis
  }
  const close = () => {
    for (const redis of open) disconnectRedis(redis)
  }
  try {
    const commands = await connect('commands')
    await checkServer(commands, url, logger)
    tellOutages(commands, url, logger)
    return {
      commands,
      writer: await connect('writer'),
      queue: await connect('queue'),
      subscriber: await connect('blocking'),
      close() {
        commands.removeAllListeners('close')
        close()
      },
    }
  } catch (error) {
    close()
    throw error
  }
}

/** Says when Redis goes and when it comes back, once each; one line tells for all, they go together. */
function tellOutages(redis: Redis, url: string, logger: Logger): void {
  let awaySince: number | undefined
  redis.on('close', () => {
    if (awaySince === undefined) logger.warn({ redis: redactUrl(url) }, 'Redis is away')
    awaySince ??= performance.now()
  })
  redis.on('ready', () => {
    if (awaySince === undefined) return
    logger.info(
      { redis: redactUrl(url), away_ms: Math.round(performance.now() - awaySince) },
      'Redis is back',
    )
    awaySince = undefined
  })
}

/** Refuses what cannot work and warns of what will hurt later. */
async function checkServer(redis: Redis, url: string, logger: Logger): Promise<void> {
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
      'Redis may evict keys when memory is full: jobs and events would vanish. Set maxmemory-policy noeviction',
    )
  }
}

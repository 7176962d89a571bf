import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { test as base } from 'vitest'
import { poolKeys } from '../../src/contract/keys.ts'
import type { PoolKeys } from '../../src/contract/keys.ts'
import { connectRedis } from '../../src/redis/connect.ts'
import type { ConnectionRole } from '../../src/redis/connect.ts'
import { startRedisServer } from '../../src/redis/server.ts'
import type { RedisServer } from '../../src/redis/server.ts'
import { openSockets, runningTimers } from './leaks.ts'
import { startProxy } from './proxy.ts'
import type { Proxy } from './proxy.ts'

/** A real Redis, empty at the start of each test. */
export interface RedisFixture {
  readonly url: string
  readonly port: number
  /** The keys of pool `p`. */
  readonly keys: PoolKeys
  /** A connection for looking at what the code under test did. */
  readonly redis: Redis
  /** A connection of a role, closed after the test; `url` leads elsewhere, e.g. through a proxy. */
  connect(role?: ConnectionRole, url?: string): Promise<Redis>
}

/** How long what a test has closed may take to be gone (ms). */
const CLOSING_MS = 2000

/**
 * `test` with a `server` for each vitest worker and a `redis` for each test. After a test only the fixture's own
 * connection may be left, in this process and on the server; else the test fails.
 */
export const test = base
  .extend('server', { scope: 'worker' }, async ({}, { onCleanup }): Promise<RedisServer> => {
    const server = await startRedisServer()
    onCleanup(() => server.stop())
    return server
  })
  .extend('redis', async ({ server }, { onCleanup }): Promise<RedisFixture> => {
    const sockets = openSockets()
    const timers = runningTimers()
    const redis = await connectRedis(server.url, { role: 'commands' })
    await redis.config('SET', 'maxmemory', '0')
    await redis.flushall()
    const opened: Redis[] = []
    onCleanup(async () => {
      for (const connection of opened) connection.disconnect()
      try {
        await soon(async () => (await clientsOf(redis)) === 1, 'connections to Redis')
      } finally {
        redis.disconnect()
      }
      await soon(() => openSockets() <= sockets, 'sockets or servers')
      await soon(() => runningTimers() <= timers + 1, 'timers')
    })
    return {
      url: server.url,
      port: server.port,
      keys: poolKeys('p'),
      redis,
      async connect(role = 'commands', url = server.url) {
        const connection = await connectRedis(url, { role })
        opened.push(connection)
        return connection
      },
    }
  })
  /** A proxy in front of that Redis. */
  .extend('proxy', async ({ redis }, { onCleanup }): Promise<Proxy> => {
    const proxy = await startProxy(redis.port)
    onCleanup(() => proxy.close())
    return proxy
  })

async function clientsOf(redis: Redis): Promise<number> {
  return String(await redis.client('LIST'))
    .trim()
    .split('\n').length
}

async function soon(done: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const until = performance.now() + CLOSING_MS
  while (!(await done())) {
    if (performance.now() > until) throw new Error(`the test has left ${what} open`)
    await sleep(5)
  }
}

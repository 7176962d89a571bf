import { setTimeout as sleep } from 'node:timers/promises'
import { Cluster } from 'ioredis'
import type { Redis } from 'ioredis'
import { test as base } from 'vitest'
import { poolKeys } from '../../src/contract/keys.ts'
import type { PoolKeys } from '../../src/contract/keys.ts'
import { connectRedis, connectToShard, disconnectRedis } from '../../src/redis/connect.ts'
import type { ConnectionRole, RedisConnection } from '../../src/redis/connect.ts'
import { startRedisServer } from '../../src/redis/server.ts'
import type { RedisServer } from '../../src/redis/server.ts'
import { openSockets, runningTimers } from './leaks.ts'
import { startProxy } from './proxy.ts'
import type { Proxy } from './proxy.ts'
import { startRedisCluster } from './redis-cluster.ts'

/** A real Redis, empty at the start of each test. */
export interface RedisFixture {
  readonly url: string
  readonly port: number
  /** The keys of pool `p`. */
  readonly keys: PoolKeys
  /** A connection for looking at what the code under test did; on a Cluster it leads to the shard of pool `p`. */
  readonly redis: Redis
  /** A connection of a role, closed after the test; `url` leads elsewhere, e.g. through a proxy. */
  connect(role?: ConnectionRole, url?: string): Promise<Redis>
}

/** How long what a test has closed may take to be gone (ms). */
const CLOSING_MS = 10_000

/**
 * Set to `cluster`, the server is a node of a Cluster of three: what a test file says is asked of that, too, by another
 * file that sets it and then imports the first (test/cluster).
 */
export const TEST_REDIS = 'TEST_REDIS'

/**
 * `test` with a `server` for each vitest worker and a `redis` for each test. After a test only the fixture's own
 * connection may be left, in this process and on the server; else the test fails.
 */
export const test = base
  .extend(
    'server',
    { scope: 'worker' },
    async ({}, { onCleanup }): Promise<Pick<RedisServer, 'url' | 'port'>> => {
      const server = await (process.env[TEST_REDIS] === 'cluster' ? startRedisCluster() : startRedisServer())
      onCleanup(() => server.stop())
      return server
    },
  )
  .extend('redis', async ({ server }, { onCleanup }): Promise<RedisFixture> => {
    const sockets = openSockets()
    const timers = runningTimers()
    const keys = poolKeys('p')
    const redis = await connectToShard(server.url, keys.config, { role: 'commands' })
    const all = await connectRedis(server.url, { role: 'commands' })
    for (const node of nodesOf(all)) {
      await node.config('SET', 'maxmemory', '0')
      await node.flushall()
    }
    const before = await clientsOf(all)
    const opened: Redis[] = []
    onCleanup(async () => {
      for (const connection of opened) connection.disconnect()
      try {
        await soon(async () => (await clientsOf(all)) <= before, 'connections to Redis')
      } finally {
        redis.disconnect()
        disconnectRedis(all)
      }
      await soon(() => openSockets() <= sockets, 'sockets or servers')
      await soon(() => runningTimers() <= timers + 1, 'timers')
    })
    return {
      url: server.url,
      port: server.port,
      keys,
      redis,
      async connect(role = 'commands', url = server.url) {
        const connection = await connectToShard(url, keys.config, { role })
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

function nodesOf(redis: RedisConnection): readonly Redis[] {
  return redis instanceof Cluster ? redis.nodes('master') : [redis]
}

/** Connections to any node, those of nodes to each other left out. */
async function clientsOf(redis: RedisConnection): Promise<number> {
  const lists = await Promise.all(nodesOf(redis).map((node) => node.client('LIST')))
  return lists.join('').match(/^id=/gm)?.length ?? 0
}

async function soon(done: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const until = performance.now() + CLOSING_MS
  while (!(await done())) {
    if (performance.now() > until) throw new Error(`the test has left ${what} open`)
    await sleep(5)
  }
}

import { Cluster } from 'ioredis'
import type { Redis } from 'ioredis'
import { describe, expect, test as base } from 'vitest'
import { poolKeys } from '../../src/contract/keys.ts'
import { slotOf } from '../../src/redis/cluster.ts'
import { connectRedis, connectToShard, disconnectRedis } from '../../src/redis/connect.ts'
import type { ConnectionRole, RedisConnection } from '../../src/redis/connect.ts'
import { startRedisServer } from '../../src/redis/server.ts'
import { ownCluster, startRedisCluster } from '../support/redis-cluster.ts'
import type { RedisCluster } from '../support/redis-cluster.ts'
import { killed } from '../support/signals.ts'

const KEY = poolKeys('p').config

/** Closes after the test. */
type Hold = <T extends RedisConnection>(connection: T) => T

const test = base
  .extend('cluster', { scope: 'file' }, async ({}, { onCleanup }): Promise<RedisCluster> => {
    const cluster = await startRedisCluster()
    onCleanup(() => cluster.stop())
    return cluster
  })
  .extend('hold', async ({}, { onCleanup }): Promise<Hold> => {
    const held: RedisConnection[] = []
    onCleanup(() => {
      for (const connection of held) disconnectRedis(connection)
    })
    return (connection) => {
      held.push(connection)
      return connection
    }
  })

/** A line to the node that has the key. */
function nodeOf(cluster: RedisCluster): Promise<Redis> {
  const node = cluster.primaries[Math.floor((slotOf(KEY) * 3) / 16_384)]
  if (node === undefined) throw new Error('no node')
  return cluster.connect(node)
}

describe('an address that leads to a node of a Cluster', () => {
  test('leads to all of it', async ({ cluster, hold }) => {
    const redis = hold(await connectRedis(cluster.url, { role: 'commands' }))
    expect(redis).toBeInstanceOf(Cluster)
    for (let n = 0; n < 50; n += 1) expect(await redis.set(`{${n}}`, n)).toBe('OK')
  })

  test('leads to the shard of a key when that is asked for, by whichever node', async ({ cluster, hold }) => {
    const node = await nodeOf(cluster)
    for (const { url } of cluster.primaries) {
      const redis = hold(await connectToShard(url, KEY, { role: 'writer' }))
      expect(await redis.client('ID')).toBeGreaterThan(0)
      expect(redis.stream.remotePort).toBe(node.options.port)
    }
  })

  test('may lose that node: who has seen the others finds them again', async ({ hold }) => {
    const cluster = await ownCluster()
    const [first, second] = cluster.primaries
    if (first === undefined || second === undefined) throw new Error('no node')
    hold(await connectRedis(first.url, { role: 'commands' }))
    await killed(first.pid)
    const key = `{${Array.from({ length: 1000 }, (_, n) => n).find((n) => onSecond(`{${n}}`))}}`
    const redis = hold(await connectToShard(first.url, key, { role: 'lookup' }))
    expect(redis.stream.remotePort).toBe(second.port)
  })

  test('may come to lead to a server of its own', async ({ hold }) => {
    const cluster = await startRedisCluster()
    hold(await connectRedis(cluster.url, { role: 'commands' })).disconnect()
    await cluster.stop()
    const server = await startRedisServer({ port: cluster.port })
    try {
      const redis = await connectRedis(cluster.url, { role: 'commands' })
      expect(redis).not.toBeInstanceOf(Cluster)
      expect(await redis.ping()).toBe('PONG')
      redis.disconnect()
    } finally {
      await server.stop()
    }
  })

  test('that names a database is refused in one line', async ({ cluster }) => {
    await expect(connectRedis(`${cluster.url}/1`, { role: 'commands' })).rejects.toMatchObject({
      kind: 'REDIS_UNAVAILABLE',
      message: expect.stringContaining('SELECT is not allowed in cluster mode'),
    })
  })
})

/** Whether a key is on the second of three nodes. */
function onSecond(key: string): boolean {
  return Math.floor((slotOf(key) * 3) / 16_384) === 1
}

/** Sends one that its node holds, breaks its line and lets the node go on. */
async function breakUnder(
  cluster: RedisCluster,
  redis: RedisConnection,
): Promise<PromiseSettledResult<number>> {
  const node = await nodeOf(cluster)
  await node.del(KEY)
  const own = String(await node.client('ID'))
  await node.call('CLIENT', 'PAUSE', 10_000, 'WRITE')
  const [sent] = [redis.incr(KEY)]
  sent.catch(() => undefined)
  await expect.poll(() => node.info('clients')).toContain('blocked_clients:1')
  const list = String(await node.client('LIST'))
  for (const [, id = ''] of list.matchAll(/^id=(\d+).*cmd=incr/gm)) {
    if (id !== own) await node.call('CLIENT', 'KILL', 'ID', id)
  }
  await node.call('CLIENT', 'UNPAUSE')
  const [result] = await Promise.allSettled([sent])
  return result
}

describe('a command whose line breaks before it is answered', () => {
  test.for<ConnectionRole>(['writer', 'lookup', 'blocking'])(
    'is not sent again for %s',
    async (role, { cluster, hold }) => {
      const redis = hold(await connectToShard(cluster.url, KEY, { role }))
      expect((await breakUnder(cluster, redis)).status).toBe('rejected')
      await expect.poll(() => redis.status).toBe('ready')
      expect(await redis.get(KEY)).toBeNull()
    },
  )

  test.for<ConnectionRole>(['commands', 'queue'])('is sent again for %s', async (role, { cluster, hold }) => {
    const shard = hold(await connectToShard(cluster.url, KEY, { role }))
    expect(await breakUnder(cluster, shard)).toMatchObject({ status: 'fulfilled', value: 1 })
    const all = hold(await connectRedis(cluster.url, { role }))
    expect(await breakUnder(cluster, all)).toMatchObject({ status: 'fulfilled', value: 1 })
  })

  test('is not sent again by a Cluster whose role forbids it', async ({ cluster, hold }) => {
    const all = hold(await connectRedis(cluster.url, { role: 'lookup' }))
    expect((await breakUnder(cluster, all)).status).toBe('rejected')
    expect(await (await nodeOf(cluster)).get(KEY)).toBeNull()
  })
})

describe('a Cluster that was left', () => {
  test('answers every command with an error, at once and later', async ({ cluster }) => {
    const redis = await connectRedis(cluster.url, { role: 'commands' })
    const asked = redis.get(KEY)
    disconnectRedis(redis)
    await Promise.allSettled([asked])
    await expect(redis.get(KEY)).rejects.toThrow()
    await expect.poll(() => redis.status).toMatch(/close|end/)
    await expect(redis.get(KEY)).rejects.toThrow('Connection is closed')
  })

  test('between two tries to connect gives up what waits', async ({ hold }) => {
    const own = await startRedisCluster()
    const redis = hold(await connectRedis(own.url, { role: 'commands' }))
    // A node is connected to when it is first needed.
    for (let n = 0; n < 50; n += 1) await redis.set(`{${n}}`, n)
    await own.stop()
    await expect.poll(() => redis.status, { interval: 5 }).toBe('reconnecting')
    const waiting = redis.get(KEY)
    disconnectRedis(redis)
    await expect(waiting).rejects.toThrow('Connection is closed')
  })
})

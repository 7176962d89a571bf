import { setTimeout as sleep } from 'node:timers/promises'
import { expect, onTestFinished, test } from 'vitest'
import { connectToServer, disconnectRedis } from '../../src/redis/connect.ts'
import { freePort } from '../../src/redis/server.ts'
import { startOwnRedis } from '../support/own-redis.ts'

test('a server that is no primary any more is left at once, and not again for every command while there is no other', async () => {
  const { server } = await startOwnRedis()
  const admin = await connectToServer(server.url, { role: 'commands' })
  const redis = await connectToServer(server.url, { role: 'commands' })
  onTestFinished(() => {
    for (const connection of [admin, redis]) disconnectRedis(connection)
  })
  const connections = async () =>
    Number(/^total_connections_received:(\d+)/m.exec(await admin.info('stats'))?.[1])
  await admin.replicaof('127.0.0.1', await freePort())
  const before = await connections()
  const until = performance.now() + 1200
  let refused = 0
  while (performance.now() < until) {
    await redis.set('a', 'b').catch((error: unknown) => {
      if (String(error).includes('READONLY')) refused += 1
    })
    await sleep(10)
  }
  await admin.replicaof('NO', 'ONE')
  const made = (await connections()) - before
  expect(made).toBeGreaterThanOrEqual(1)
  expect(made).toBeLessThanOrEqual(3)
  expect(refused).toBeGreaterThan(20)
  expect(await redis.set('a', 'b')).toBe('OK')
})

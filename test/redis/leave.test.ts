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
  const refusals: unknown[] = []
  while (refusals.length < 200) {
    const answer = await redis.set('a', 'b').catch((error: unknown) => error)
    if (String(answer).includes('READONLY')) refusals.push(answer)
  }
  await admin.replicaof('NO', 'ONE')
  const made = (await connections()) - before
  expect(made).toBeGreaterThanOrEqual(1)
  expect(made).toBeLessThanOrEqual(refusals.length / 10)
  expect(await redis.set('a', 'b')).toBe('OK')
})

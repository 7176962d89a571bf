import { expect } from 'vitest'
import { test } from 'vitest'
import { startRedisServer } from '../../src/redis/server.ts'
import { startConsumer } from '../../src/queue/consumer.ts'
import { connectRedis } from '../../src/redis/connect.ts'
import { createLab, KEYS } from '../support/lab.ts'
import { setTimeout as sleep } from 'node:timers/promises'
import { killed, freeze } from '../support/signals.ts'
test.for(['kill','freeze'])('idle %s', async (how) => {
  const server = await startRedisServer()
  const redis = await connectRedis(server.url, { role: 'queue' })
  const errors: string[] = []
  const c = startConsumer({ connection: redis, keys: KEYS, slots: 2, lockMs: 1000, stalledIntervalMs: 300, run: async () => ({ kind: 'over' }), onGivenUp: () => {}, onError: (e) => errors.push(String(e)) })
  c.open()
  await sleep(500)
  if (how === 'kill') await killed(server.pid); else freeze(server.pid)
  const t = performance.now()
  const r = await Promise.race([c.close().then(() => 'closed'), sleep(8000).then(() => 'HUNG')])
  console.log(how, r, performance.now() - t, errors.slice(0,3))
  redis.disconnect()
  await server.stop()
})

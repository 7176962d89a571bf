import { expect } from 'vitest'
import { sweepDeadlines } from '../../src/stream/deadline-sweep.ts'
import { createEventLog } from '../../src/stream/event-log.ts'
import { test } from '../support/redis.ts'

const QUEUE = { holds: async () => false, removeWaiting: async () => undefined }

test('a stream of others and a key of another kind do not keep the jobs behind them from ending', async ({
  redis: { redis, keys },
}) => {
  const log = createEventLog(redis, keys)
  await redis.xadd(keys.events('a-foreign'), '1-1', 'foo', 'bar')
  await redis.set(keys.events('b-string'), 'no stream')
  const queued = '{"digest":"d","accepted_at":1,"deadline_at":2,"queue_position":0}'
  await redis.xadd(keys.events('c-good'), '0-1', 'event', 'queued', 'data', queued)
  for (const [at, id] of ['a-foreign', 'b-string', 'c-good'].entries())
    await redis.zadd(keys.deadlines, at, id)
  expect(await sweepDeadlines({ redis, log, queue: QUEUE, keys, retentionMs: 60_000 })).toBe(2)
  expect(await redis.zcard(keys.deadlines)).toBe(0)
  const [good] = await log.lastEntries(['c-good'])
  expect(good?.data).toContain('DEADLINE_UNMET')
})

test('a Redis that refuses for now keeps the deadlines for the next sweep', async ({
  redis: { redis, keys },
}) => {
  const log = createEventLog(redis, keys)
  await redis.xadd(keys.events('j'), '1-1', 'foo', 'bar')
  await redis.zadd(keys.deadlines, 1, 'j')
  const refusing = { ...log, write: async () => Promise.reject(new Error('OOM command not allowed')) }
  const request = { redis, log: refusing, queue: QUEUE, keys, retentionMs: 60_000 }
  await expect(sweepDeadlines(request)).rejects.toThrow('OOM')
  expect(await redis.zscore(keys.deadlines, 'j')).toBe('1')
})

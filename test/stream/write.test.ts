import { describe, expect } from 'vitest'
import { entryId, QUEUED_ID, SEAL_ID, START } from '../../src/contract/stream-id.ts'
import type { LogEntry } from '../../src/stream/entry.ts'
import { ANYTHING, createEventLog } from '../../src/stream/event-log.ts'
import type { EventLog, WriteRequest } from '../../src/stream/event-log.ts'
import type { RedisFixture } from '../support/redis.ts'
import { test as base } from '../support/redis.ts'
import { CANCELLED, end, EPOCH, idsOf, QUEUED, started, token, tokens } from './entries.ts'

const RETENTION_MS = 60_000
const DEADLINE_AT = Date.now() + 100_000

const test = base.extend('log', async ({ redis }): Promise<EventLog> =>
  createEventLog(redis.redis, redis.keys),
)

function request(expected: WriteRequest['expect'], ...entries: LogEntry[]): WriteRequest {
  return { jobId: 'j', expect: expected, entries, deadlineAt: DEADLINE_AT, retentionMs: RETENTION_MS }
}

/** Everything that a write may change. */
async function stateOf({ redis, keys }: RedisFixture) {
  const stream = keys.events('j')
  const [entries, expiresAt, deadline, found] = await Promise.all([
    redis.xrange(stream, '-', '+'),
    redis.pexpiretime(stream),
    redis.zscore(keys.deadlines, 'j'),
    redis.keys('*'),
  ])
  return { entries, expiresAt, deadline, keys: found.toSorted() }
}

describe('a write', () => {
  test('that expects no stream creates it, with its deadline and its end of life', async ({ log, redis }) => {
    expect(await log.write(request(START, QUEUED))).toEqual({ written: true, last: QUEUED_ID })
    const state = await stateOf(redis)
    expect(state.entries).toEqual([[QUEUED_ID, ['event', 'queued', 'data', QUEUED.data]]])
    expect(state.expiresAt).toBe(DEADLINE_AT + RETENTION_MS)
    expect(state.deadline).toBe(String(DEADLINE_AT))
  })

  test('that expects no stream is refused where there is one', async ({ log, redis }) => {
    await log.write(request(START, QUEUED))
    const before = await stateOf(redis)
    expect(await log.write(request(START, started()))).toEqual({ written: false, last: QUEUED_ID })
    expect(await stateOf(redis)).toEqual(before)
  })

  test('that expects the last id appends all its entries', async ({ log }) => {
    await log.write(request(START, QUEUED))
    expect(await log.write(request(QUEUED_ID, started(), ...tokens(3)))).toEqual({
      written: true,
      last: token(2).id,
    })
    const { entries } = await log.read('j')
    expect(entries).toEqual([QUEUED, started(), ...tokens(3)])
  })

  test('leaves the end of life of a stream alone', async ({ log, redis }) => {
    await log.write(request(START, QUEUED))
    const { expiresAt, deadline } = await stateOf(redis)
    await log.write({ ...request(QUEUED_ID, started()), deadlineAt: 1, retentionMs: 1 })
    expect(await stateOf(redis)).toMatchObject({ expiresAt, deadline })
  })

  test.for([START, QUEUED_ID, entryId(EPOCH, 2), entryId(EPOCH, 4), entryId(EPOCH + 1, 1), SEAL_ID])(
    'that expects %s after 1000-3 is refused and changes nothing',
    async (expected, { log, redis }) => {
      await log.write(request(START, QUEUED, started(), ...tokens(2)))
      const before = await stateOf(redis)
      expect(await log.write(request(expected, token(2)))).toEqual({ written: false, last: token(1).id })
      expect(await stateOf(redis)).toEqual(before)
    },
  )

  test.for([QUEUED_ID, ANYTHING, SEAL_ID] as const)(
    'that expects %s where there is no stream makes none',
    async (expected, { log, redis }) => {
      expect(await log.write(request(expected, CANCELLED))).toEqual({ written: false, last: START })
      expect((await stateOf(redis)).keys).toEqual([])
    },
  )

  test('that expects anything appends to whatever is there', async ({ log }) => {
    await log.write(request(START, QUEUED))
    expect(await log.write(request(ANYTHING, CANCELLED))).toEqual({ written: true, last: SEAL_ID })
  })

  test('of the seal ends the deadline and starts the retention', async ({ log, redis }) => {
    await log.write(request(START, QUEUED))
    await redis.redis.zadd(redis.keys.deadlines, 5, 'another')
    const from = Date.now()
    await log.write(request(QUEUED_ID, started(), token(0), end(1)))
    const state = await stateOf(redis)
    expect(state.deadline).toBe(null)
    expect(state.expiresAt).toBeGreaterThanOrEqual(from + RETENTION_MS)
    expect(state.expiresAt).toBeLessThanOrEqual(Date.now() + RETENTION_MS)
    expect(await redis.redis.zscore(redis.keys.deadlines, 'another')).toBe('5')
  })

  test('of the seal as the first entry leaves no deadline behind', async ({ log, redis }) => {
    await log.write(request(START, CANCELLED))
    const state = await stateOf(redis)
    expect(state.deadline).toBe(null)
    expect(state.expiresAt).toBeLessThanOrEqual(Date.now() + RETENTION_MS)
  })

  test('of the seal wakes who listens, and no other write does', async ({ log, redis }) => {
    const listener = await redis.connect('blocking')
    const heard: unknown[] = []
    listener.on('smessage', (channel: string, jobId: string) => heard.push([channel, jobId]))
    await listener.ssubscribe(redis.keys.cancelChannel)
    await log.write(request(START, QUEUED))
    await log.write(request(QUEUED_ID, started(), token(0)))
    await log.write(request(token(0).id, end(1)))
    await log.write(request(ANYTHING, CANCELLED))
    await expect.poll(() => heard).toEqual([[redis.keys.cancelChannel, 'j']])
  })

  test.for([START, QUEUED_ID, token(0).id, SEAL_ID, ANYTHING] as const)(
    'that expects %s after the seal is refused and changes nothing',
    async (expected, { log, redis }) => {
      await log.write(request(START, QUEUED, started(), token(0), end(1)))
      const before = await stateOf(redis)
      for (const entry of [token(1), started(EPOCH + 1), CANCELLED]) {
        expect(await log.write(request(expected, entry))).toEqual({ written: false, last: SEAL_ID })
      }
      expect(await stateOf(redis)).toEqual(before)
    },
  )

  test.for<[name: string, entries: LogEntry[]]>([
    ['go back', [started(), token(1), token(0)]],
    ['repeat', [started(), token(0), token(0)]],
    ['begin with the last one', [QUEUED]],
    ['follow the seal', [started(), CANCELLED, token(0)]],
    ['repeat the seal', [CANCELLED, CANCELLED]],
  ])('whose ids %s is an error and changes nothing', async ([, entries], { log, redis }) => {
    await log.write(request(START, QUEUED))
    const before = await stateOf(redis)
    await expect(log.write(request(QUEUED_ID, ...entries))).rejects.toThrow(/ORDER entry/)
    expect(await stateOf(redis)).toEqual(before)
  })

  test('of a new job is an error and changes nothing when Redis is out of memory', async ({ log, redis }) => {
    const before = await stateOf(redis)
    await redis.redis.config('SET', 'maxmemory', '1')
    await expect(log.write(request(START, QUEUED))).rejects.toThrow(/^OOM/)
    await redis.redis.config('SET', 'maxmemory', '0')
    expect(await stateOf(redis)).toEqual(before)
  })

  test('of an accepted job needs no free memory', async ({ log, redis }) => {
    await log.write(request(START, QUEUED))
    await redis.redis.config('SET', 'maxmemory', '1')
    const running = [started(), ...tokens(100)]
    const last = running.at(-1)?.id ?? START
    expect(await log.write(request(QUEUED_ID, ...running))).toEqual({ written: true, last })
    expect(await log.write(request(last, CANCELLED))).toMatchObject({ written: true })
    // Who comes again with the id is told what is there.
    expect(await log.write(request(START, QUEUED))).toMatchObject({ written: false })
    await redis.redis.config('SET', 'maxmemory', '0')
  })

  test('of ten thousand entries is one write', async ({ log }) => {
    const entries = [QUEUED, started(), ...tokens(10_000)]
    expect(await log.write(request(START, ...entries))).toEqual({ written: true, last: token(9999).id })
    expect(idsOf((await log.read('j')).entries)).toEqual(idsOf(entries))
  })

  test('of what Redis would not keep as a number keeps every digit of its ids', async ({ log }) => {
    const epoch = Number.MAX_SAFE_INTEGER - 1
    await log.write(request(START, started(epoch), token(0, epoch)))
    expect((await log.read('j')).entries).toEqual([started(epoch), token(0, epoch)])
  })
})

describe('the last entries', () => {
  test('of many jobs come in their order, with none where there is no stream', async ({ log }) => {
    await log.write(request(START, QUEUED, started(), token(0)))
    expect(await log.lastEntries(['none', 'j', 'none'])).toEqual([undefined, token(0), undefined])
    expect(await log.lastEntries([])).toEqual([])
  })
})

import { describe, expect } from 'vitest'
import { SEAL_ID, START, entryId } from '../../src/contract/stream-id.ts'
import type { QueuePort } from '../../src/stream/seal.ts'
import { sweepDeadlines, tokensAfter } from '../../src/stream/deadline-sweep.ts'
import { ANYTHING, createEventLog } from '../../src/stream/event-log.ts'
import type { EventLog } from '../../src/stream/event-log.ts'
import { formatEntry, parseEntry } from '../../src/stream/entry.ts'
import type { LogEntry } from '../../src/stream/entry.ts'
import { test as base } from '../support/redis.ts'
import { CANCELLED, end, EPOCH, idsOf, QUEUED, started, token, tokens } from './entries.ts'

/** Jobs with deadlines, and what a sweep does to them. */
interface Stage {
  readonly log: EventLog
  /** A job whose deadline passes in so many ms. */
  add(jobId: string, inMs: number, ...entries: LogEntry[]): Promise<void>
  readonly removed: string[]
  /** What the queue holds without a stream. */
  readonly waiting: Set<string>
  sweep(log?: EventLog): Promise<number>
  /** The last event of a job. */
  last(jobId: string): Promise<unknown>
}

const test = base.extend('stage', async ({ redis: { redis, keys } }): Promise<Stage> => {
  const log = createEventLog(redis, keys)
  const removed: string[] = []
  const waiting = new Set<string>()
  const queue: QueuePort = {
    holds: async (jobId) => waiting.has(jobId),
    async removeWaiting(jobId) {
      removed.push(jobId)
    },
  }
  return {
    log,
    removed,
    waiting,
    async add(jobId, inMs, ...entries) {
      await log.write({ jobId, expect: START, entries, deadlineAt: Date.now() + inMs, retentionMs: 60_000 })
    },
    sweep: (given = log) => sweepDeadlines({ redis, log: given, queue, keys, retentionMs: 60_000 }),
    async last(jobId) {
      const [entry] = await log.lastEntries([jobId])
      return entry === undefined ? undefined : parseEntry(entry)
    },
  }
})

describe('a sweep', () => {
  test.for<[name: string, entries: LogEntry[], data: object]>([
    ['never began', [QUEUED], { code: 'DEADLINE_UNMET', retriable: false }],
    ['has no token yet', [QUEUED, started()], { code: 'DECODE_TIMEOUT', retriable: true, tokens_out: 0 }],
    ['was not enqueued by us', [started()], { code: 'DECODE_TIMEOUT', retriable: true, tokens_out: 0 }],
    [
      'has tokens',
      [QUEUED, started(), ...tokens(3)],
      { code: 'DECODE_TIMEOUT', retriable: true, tokens_out: 3 },
    ],
    [
      'began again',
      [QUEUED, started(), ...tokens(3), started(EPOCH + 1, 3)],
      { code: 'DECODE_TIMEOUT', tokens_out: 3 },
    ],
  ])('ends a job that %s', async ([, entries, data], { stage }) => {
    await stage.add('j', -1, ...entries)
    expect(await stage.sweep()).toBe(1)
    expect(await stage.last('j')).toMatchObject({
      id: SEAL_ID,
      event: 'error',
      data: { ...data, pool_id: 'p' },
    })
    expect(stage.removed).toEqual(['j'])
    expect(await stage.sweep()).toBe(0)
  })

  test('ends a job without a stream while the queue holds it, and forgets it otherwise', async ({
    stage,
    redis: { redis, keys },
  }) => {
    await redis.zadd(keys.deadlines, 1, 'waits', 1, 'gone')
    stage.waiting.add('waits')
    expect(await stage.sweep()).toBe(1)
    expect(await stage.last('waits')).toMatchObject({ id: SEAL_ID, data: { code: 'DEADLINE_UNMET' } })
    expect(await stage.last('gone')).toBe(undefined)
    expect(stage.removed).toEqual(['waits'])
    expect(await redis.zcard(keys.deadlines)).toBe(0)
  })

  test('leaves jobs alone that have time, or are over', async ({ stage, redis }) => {
    await stage.add('later', 60_000, QUEUED)
    await stage.add('over', -1, QUEUED, started(), token(0), end(1))
    expect(await stage.sweep()).toBe(0)
    expect(await stage.last('later')).toMatchObject({ event: 'queued' })
    expect(await stage.last('over')).toMatchObject({ event: 'end' })
    expect(await redis.redis.zscore(redis.keys.deadlines, 'over')).toBe(null)
  })

  test('forgets jobs whose events have expired', async ({ stage, redis }) => {
    await redis.redis.zadd(redis.keys.deadlines, 1, 'expired')
    expect(await stage.sweep()).toBe(0)
    expect(await redis.redis.zcard(redis.keys.deadlines)).toBe(0)
    expect(await redis.redis.keys('*events*')).toEqual([])
  })

  test('looks again when the job moved meanwhile', async ({ stage }) => {
    await stage.add('j', -1, QUEUED)
    let looks = 0
    const moving: EventLog = {
      ...stage.log,
      async lastEntries(jobIds) {
        const last = await stage.log.lastEntries(jobIds)
        looks += 1
        const entries = looks === 1 ? [started()] : looks === 2 ? tokens(2) : []
        if (entries.length > 0) {
          await stage.log.write({ jobId: 'j', expect: ANYTHING, entries, deadlineAt: 0, retentionMs: 60_000 })
        }
        return last
      },
    }
    expect(await stage.sweep(moving)).toBe(1)
    expect(await stage.last('j')).toMatchObject({ data: { code: 'DECODE_TIMEOUT', tokens_out: 2 } })
  })

  // After a failover that took the queue's entry, or beside another producer of the same id.
  test('keeps the deadline of a job that is enqueued between its look and its answer', async ({
    stage,
    redis,
  }) => {
    await redis.redis.zadd(redis.keys.deadlines, 1, 'j')
    const queue: QueuePort = {
      async holds() {
        await stage.add('j', 60_000, QUEUED)
        return false
      },
      removeWaiting: async () => undefined,
    }
    const { redis: connection, keys } = redis
    expect(
      await sweepDeadlines({ redis: connection, log: stage.log, queue, keys, retentionMs: 60_000 }),
    ).toBe(0)
    expect(await stage.last('j')).toMatchObject({ event: 'queued' })
    expect(Number(await connection.zscore(keys.deadlines, 'j'))).toBeGreaterThan(Date.now())
    expect(await connection.zscore(keys.index('queued'), 'j')).not.toBe(null)
  })

  test('keeps the deadline of a job whose seal a failover takes away meanwhile', async ({ stage, redis }) => {
    const { redis: connection, keys } = redis
    await stage.add('j', -1, QUEUED, started(), end(0))
    await connection.zadd(keys.deadlines, 1, 'j')
    let looks = 0
    const rolledBack: EventLog = {
      ...stage.log,
      async lastEntries(jobIds) {
        const last = await stage.log.lastEntries(jobIds)
        looks += 1
        if (looks === 1) {
          await connection.unlink(keys.events('j'))
          await stage.add('j', -1, QUEUED, started())
        }
        return last
      },
    }
    expect(await stage.sweep(rolledBack)).toBe(0)
    expect(await stage.sweep(rolledBack)).toBe(1)
    expect(await stage.last('j')).toMatchObject({ data: { code: 'DECODE_TIMEOUT' } })
  })

  test('by many at once ends each job once', async ({ stage }) => {
    for (let i = 0; i < 20; i += 1) await stage.add(`j${i}`, -1, QUEUED)
    const ended = await Promise.all([stage.sweep(), stage.sweep(), stage.sweep()])
    expect(ended[0] + ended[1] + ended[2]).toBe(20)
    const logs = await Promise.all(Array.from({ length: 20 }, (_, i) => stage.log.read(`j${i}`)))
    for (const { entries } of logs) expect(idsOf(entries)).toEqual([QUEUED.id, SEAL_ID])
  })

  test('that is cancelled first leaves the cancel', async ({ stage }) => {
    await stage.add('j', -1, QUEUED)
    const late: EventLog = {
      ...stage.log,
      async write(request) {
        await stage.log.write({ ...request, expect: ANYTHING, entries: [CANCELLED] })
        return stage.log.write(request)
      },
    }
    expect(await stage.sweep(late)).toBe(0)
    expect(await stage.last('j')).toMatchObject({ data: { code: 'CANCELLED' } })
  })

  // One entry that nobody can read must not keep the deadlines of all other jobs from being met.
  test('ends the jobs after one whose events cannot be read', async ({ stage, redis }) => {
    await stage.add('a', -1000, QUEUED, { ...started(), data: '{}' })
    await stage.add('b', -1, QUEUED)
    await stage.sweep().catch(() => undefined)
    await stage.sweep().catch(() => undefined)
    expect(await redis.redis.zscore(redis.keys.deadlines, 'b')).toBe(null)
  })

  // As a failover between the copies of the two keys, or an older version, would leave it.
  test('forgets a job that is over and still has a deadline', async ({ stage, redis }) => {
    await stage.add('j', -1, QUEUED, started(), end(0))
    await redis.redis.zadd(redis.keys.deadlines, 1, 'j')
    await stage.sweep()
    expect(await redis.redis.zscore(redis.keys.deadlines, 'j')).toBe(null)
  })
})

test('the last entry tells how many tokens there are', () => {
  const metrics = formatEntry(entryId(EPOCH, 9), 'metrics', { tokens_out: 7, elapsed_ms: 1 })
  const counts = [QUEUED, started(), started(EPOCH, 4), token(2), metrics, end(5), CANCELLED].map(tokensAfter)
  expect(counts).toEqual([0, 0, 4, 3, 7, 5, 0])
})

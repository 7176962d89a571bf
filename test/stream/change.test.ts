import { describe, expect } from 'vitest'
import { JOB_STATES } from '../../src/contract/job-states.ts'
import type { JobStateName } from '../../src/contract/job-states.ts'
import { QUEUED_ID, START } from '../../src/contract/stream-id.ts'
import { sweepDeadlines } from '../../src/stream/deadline-sweep.ts'
import { ANYTHING, createEventLog } from '../../src/stream/event-log.ts'
import type { EventLog, WriteRequest } from '../../src/stream/event-log.ts'
import { trimIndex } from '../../src/stream/job-index.ts'
import type { LogEntry } from '../../src/stream/entry.ts'
import { errorSeal } from '../../src/stream/seal.ts'
import { test as base } from '../support/redis.ts'
import { CANCELLED, end, EPOCH, QUEUED, started, token, tokens } from './entries.ts'

/** The counters and the index of a pool, and writes that change them. */
interface Stage {
  readonly log: EventLog
  write(expect: WriteRequest['expect'], ...entries: LogEntry[]): Promise<boolean>
  counters(): Promise<Record<string, string>>
  /** The states that job `j` is in. */
  states(jobId?: string): Promise<JobStateName[]>
}

const RETENTION_MS = 60_000

const test = base.extend('stage', async ({ redis: { redis, keys } }): Promise<Stage> => {
  const log = createEventLog(redis, keys)
  return {
    log,
    async write(expected, ...entries) {
      const deadlineAt = Date.now() + 100_000
      const request = { jobId: 'j', expect: expected, entries, deadlineAt, retentionMs: RETENTION_MS }
      return (await log.write({ ...request, priority: 'batch' })).written
    },
    counters: () => redis.hgetall(keys.counters),
    async states(jobId = 'j') {
      const scores = await Promise.all(keys.indexes.map((key) => redis.zscore(key, jobId)))
      return JOB_STATES.filter((_, at) => scores[at] !== null)
    },
  }
})

/** The end of an attempt that fails without knowing how many tokens there are. */
const RESET = errorSeal('WORKER_RESET', { message: 'm', pool_id: 'p', tokens_out: 2 })

describe('a job', () => {
  test('is in one state, from queued to its end', async ({ stage }) => {
    await stage.write(START, QUEUED)
    expect(await stage.states()).toEqual(['queued'])
    await stage.write(QUEUED_ID, started(), token(0))
    expect(await stage.states()).toEqual(['started'])
    await stage.write(token(0).id, token(1), end(2))
    expect(await stage.states()).toEqual(['ended'])
  })

  test.for<[state: JobStateName, entries: LogEntry[]]>([
    ['started', [started()]],
    ['ended', [started(), ...tokens(2), end(2)]],
    ['failed', [started(), ...tokens(2), RESET]],
    ['cancelled', [CANCELLED]],
  ])('that nobody queued can be %s', async ([state, entries], { stage }) => {
    await stage.write(START, ...entries)
    expect(await stage.states()).toEqual([state])
  })

  test('stays started since its first attempt', async ({ stage, redis: { redis, keys } }) => {
    await stage.write(START, QUEUED, started())
    const since = await redis.zscore(keys.index('started'), 'j')
    await redis.zadd(keys.index('started'), Number(since) - 5000, 'j')
    const again = { ...started(EPOCH + 1), data: started().data.replace('"attempt":1', '"attempt":2') }
    expect(await stage.write(started().id, again)).toBe(true)
    expect(await redis.zscore(keys.index('started'), 'j')).toBe(String(Number(since) - 5000))
    expect(await stage.counters()).toMatchObject({ 'started:batch': '1', 'queue_time:batch:0.3': '1' })
  })

  test('whose id comes again after its events have expired is what it is now', async ({
    stage,
    redis: { redis, keys },
  }) => {
    await stage.write(START, QUEUED, CANCELLED)
    await redis.del(keys.events('j'))
    await stage.write(START, QUEUED)
    expect(await stage.states()).toEqual(['queued'])
  })

  test('whose events have expired before its end leaves the index with its deadline', async ({
    stage,
    redis: { redis, keys },
  }) => {
    await stage.write(START, QUEUED, started())
    await redis.del(keys.events('j'))
    await redis.zadd(keys.deadlines, 1, 'j')
    const queue = { holds: async () => false, removeWaiting: async () => undefined }
    await sweepDeadlines({ redis, log: stage.log, queue, keys, retentionMs: RETENTION_MS })
    expect(await stage.states()).toEqual([])
  })

  test('that is over leaves the index with its events, and no other does', async ({
    stage,
    redis: { redis, keys },
  }) => {
    const old = Date.now() - RETENTION_MS - 1000
    for (const state of JOB_STATES) await redis.zadd(keys.index(state), old, `old-${state}`)
    await stage.write(START, QUEUED, CANCELLED)
    await trimIndex(redis, keys, RETENTION_MS)
    expect(await stage.states()).toEqual(['cancelled'])
    for (const state of ['ended', 'failed', 'cancelled'] as const)
      expect(await stage.states(`old-${state}`)).toEqual([])
    for (const state of ['queued', 'started'] as const)
      expect(await stage.states(`old-${state}`)).toEqual([state])
  })
})

/** A `queued` that says its priority. */
const queuedAs = (priority: string): LogEntry => ({
  ...QUEUED,
  data: JSON.stringify({ ...(JSON.parse(QUEUED.data) as object), priority }),
})

describe('a batch job', () => {
  test.for<[what: string, entries: LogEntry[]]>([
    ['its producer queued', [queuedAs('batch')]],
    ['a worker began without its `queued`', [started(), token(0)]],
  ])('that %s is known as one until it has left the index', async ([, entries], { stage, redis }) => {
    const { keys } = redis
    const expiry = () => redis.redis.zscore(keys.batchIndex, 'j')
    await stage.write(START, ...entries)
    expect(await expiry()).toBe('inf')
    await trimIndex(redis.redis, keys, RETENTION_MS)
    expect(await expiry()).toBe('inf')
    await stage.write(ANYTHING, CANCELLED)
    const ended = Number(await redis.redis.zscore(keys.index('cancelled'), 'j'))
    expect(await expiry()).toBe(String(ended + RETENTION_MS))
    await redis.redis.zadd(keys.batchIndex, 1, 'j')
    await trimIndex(redis.redis, keys, RETENTION_MS)
    expect(await expiry()).toBe(null)
  })

  test('is none any more when its id comes again as an interactive one', async ({
    stage,
    redis: { redis, keys },
  }) => {
    await stage.write(START, queuedAs('batch'), CANCELLED)
    await redis.del(keys.events('j'))
    await stage.write(START, queuedAs('interactive'))
    expect(await redis.zscore(keys.batchIndex, 'j')).toBe(null)
  })

  test('leaves with its deadline when its events are gone', async ({ stage, redis: { redis, keys } }) => {
    await stage.write(START, queuedAs('batch'))
    await redis.del(keys.events('j'))
    await redis.zadd(keys.deadlines, 1, 'j')
    const queue = { holds: async () => false, removeWaiting: async () => undefined }
    await sweepDeadlines({ redis, log: stage.log, queue, keys, retentionMs: RETENTION_MS })
    expect(await redis.exists(keys.batchIndex)).toBe(0)
  })

  test.for(['batch', 'interactive'])(
    'or another: %s, it takes 13 commands to queue',
    async (priority, { stage, redis }) => {
      await redis.redis.config('RESETSTAT')
      await stage.write(START, queuedAs(priority))
      const stats = await redis.redis.info('commandstats')
      const counts = [...stats.matchAll(/cmdstat_(\w+)\S*?:calls=(\d+)/g)].map(([, name, calls]) => [
        name,
        calls,
      ])
      const { config: _, info: __, ...commands } = Object.fromEntries(counts) as Record<string, string>
      const sum = Object.values(commands).reduce((total, calls) => total + Number(calls), 0)
      // eval, xrevrange, xadd, pexpireat, hincrby, time; two sets that it enters and five that it is in or leaves.
      expect(sum, JSON.stringify(commands)).toBe(13)
    },
  )
})

describe('the counters', () => {
  test('of one answered job', async ({ stage }) => {
    await stage.write(START, QUEUED)
    await stage.write(QUEUED_ID, started(), token(0))
    await stage.write(token(0).id, token(1), end(2))
    expect(await stage.counters()).toEqual({
      'queued:batch': '1',
      'started:batch': '1',
      'queue_time:batch:0.3': '1',
      'first_token:batch:0.001': '1',
      'duration:batch:0.3': '1',
      'jobs:ended:': '1',
      'tokens:out': '2',
    })
  })

  test('are not touched by a write that is refused, as one whose answer was lost is', async ({ stage }) => {
    await stage.write(START, QUEUED)
    await stage.write(QUEUED_ID, started(), ...tokens(2), end(2))
    const before = await stage.counters()
    expect(await stage.write(START, QUEUED)).toBe(false)
    expect(await stage.write(QUEUED_ID, started(), ...tokens(2), end(2))).toBe(false)
    expect(await stage.write(ANYTHING, CANCELLED)).toBe(false)
    expect(await stage.counters()).toEqual(before)
    expect(await stage.states()).toEqual(['ended'])
  })

  test.for<[what: string, entries: LogEntry[], tokensOut: string]>([
    ['waits', [QUEUED], '0'],
    ['has begun', [QUEUED, started()], '0'],
    ['has tokens', [QUEUED, started(), ...tokens(3)], '3'],
    ['goes on after tokens', [QUEUED, started(), ...tokens(3), started(EPOCH + 1, 3)], '3'],
  ])('of a cancel know how many tokens a job has that %s', async ([, entries, tokensOut], { stage }) => {
    await stage.write(START, ...entries)
    await stage.write(ANYTHING, CANCELLED)
    const counters = await stage.counters()
    expect(counters['jobs:cancelled:CANCELLED']).toBe('1')
    expect(counters['tokens:out']).toBe(tokensOut)
  })

  test('of a stream that is not one of ours count its end all the same', async ({
    stage,
    redis: { redis, keys },
  }) => {
    await redis.xadd(keys.events('j'), '5-5', 'event', 'token', 'data', 'no json')
    await redis.xadd(keys.events('k'), '5-5', 'event', 'token', 'data', '7')
    await stage.write(ANYTHING, CANCELLED)
    await stage.log.write({
      jobId: 'k',
      expect: ANYTHING,
      entries: [CANCELLED],
      deadlineAt: 0,
      retentionMs: RETENTION_MS,
    })
    expect(await stage.counters()).toEqual({ 'jobs:cancelled:CANCELLED': '2', 'tokens:out': '0' })
  })

  test('are left alone by tokens', async ({ stage, redis: { redis } }) => {
    await stage.write(START, QUEUED, started())
    const calls = async () =>
      Number(/cmdstat_hincrby:calls=(\d+)/.exec(await redis.info('commandstats'))?.[1])
    const before = await calls()
    await stage.write(started().id, token(0))
    await stage.write(token(0).id, token(1), token(2))
    expect(await calls()).toBe(before)
  })
})

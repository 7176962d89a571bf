import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect } from 'vitest'
import { entryId, QUEUED_ID, SEAL_ID, START } from '../../src/contract/stream-id.ts'
import type { Cursor } from '../../src/contract/stream-id.ts'
import { createAttemptWriter } from '../../src/stream/attempt-writer.ts'
import type { AttemptWriter, AttemptWriterOptions } from '../../src/stream/attempt-writer.ts'
import type { LogEntry } from '../../src/stream/entry.ts'
import { ANYTHING, createEventLog } from '../../src/stream/event-log.ts'
import type { EventLog, WriteRequest } from '../../src/stream/event-log.ts'
import { test as base } from '../support/redis.ts'
import { CANCELLED, end, endData, EPOCH, QUEUED, started, token, tokenData, tokens } from './entries.ts'

const RETENTION_MS = 60_000
const DEADLINE_AT = Date.now() + 100_000
const HISTORY = [QUEUED, started()]

/** One job whose attempt has just begun. */
interface Stage {
  readonly log: EventLog
  /** Writes as somebody else would. */
  write(expect: WriteRequest['expect'], ...entries: LogEntry[]): Promise<void>
  /** What Redis has lost: the stream is as it was after these entries. */
  goBackTo(...entries: LogEntry[]): Promise<void>
  entries(): Promise<readonly LogEntry[]>
  /** Every write of the writer, in order; aborted after the test. */
  readonly writes: WriteRequest[]
  start(options?: Partial<Omit<AttemptWriterOptions, 'log'>> & { readonly log?: Writing }): AttemptWriter
}

type Writing = Pick<EventLog, 'write'>

const test = base.extend('stage', async ({ redis }, { onCleanup }): Promise<Stage> => {
  const log = createEventLog(redis.redis, redis.keys)
  const writers: AttemptWriter[] = []
  const writes: WriteRequest[] = []
  const request = { jobId: 'j', deadlineAt: DEADLINE_AT, retentionMs: RETENTION_MS }
  await log.write({ ...request, expect: START, entries: HISTORY })
  onCleanup(() => {
    for (const writer of writers) writer.abort()
  })
  return {
    log,
    writes,
    async write(expected, ...entries) {
      const { written } = await log.write({ ...request, expect: expected, entries })
      expect(written).toBe(true)
    },
    async goBackTo(...entries) {
      await redis.redis.del(redis.keys.events('j'))
      if (entries.length > 0) await log.write({ ...request, expect: START, entries })
    },
    entries: async () => (await log.read('j')).entries,
    start(options = {}) {
      const inner = options.log ?? log
      const writer = createAttemptWriter({
        jobId: 'j',
        epoch: EPOCH,
        history: HISTORY,
        deadlineAt: DEADLINE_AT,
        retentionMs: RETENTION_MS,
        confirmLock: () => Promise.reject(new Error('nobody should ask')),
        ...options,
        log: {
          read: (jobId) => log.read(jobId),
          write(written) {
            writes.push(written)
            return inner.write(written)
          },
        },
      })
      writers.push(writer)
      return writer
    },
  }
})

function append(writer: AttemptWriter, from: number, count = 1): void {
  for (let i = from; i < from + count; i += 1) writer.append('token', JSON.stringify(tokenData(i)))
}

function sealEnd(writer: AttemptWriter, tokensOut: number): void {
  writer.seal('end', JSON.stringify(endData(tokensOut)))
}

describe('an attempt writer', () => {
  test('writes tokens and the end under ids without holes', async ({ stage }) => {
    const writer = stage.start()
    append(writer, 0, 3)
    sealEnd(writer, 3)
    expect(await writer.outcome).toBe('sealed')
    expect(await stage.entries()).toEqual([...HISTORY, ...tokens(3), end(3)])
  })

  test('writes the last token and the end in one write', async ({ stage }) => {
    const writer = stage.start()
    append(writer, 0)
    await expect.poll(() => writer.pending).toBe(0)
    append(writer, 1, 2)
    sealEnd(writer, 3)
    await writer.outcome
    expect(stage.writes.at(-1)?.entries).toEqual([token(2), end(3)])
  })

  test('has one write in flight and puts what comes meanwhile into the next', async ({ stage }) => {
    const held = Promise.withResolvers<void>()
    let inFlight = 0
    const writer = stage.start({
      log: {
        async write(request) {
          inFlight += 1
          expect(inFlight).toBe(1)
          if (stage.writes.length === 1) await held.promise
          const result = await stage.log.write(request)
          inFlight -= 1
          return result
        },
      },
    })
    append(writer, 0, 50)
    expect(stage.writes).toHaveLength(1)
    expect(writer.pending).toBe(50)
    held.resolve()
    sealEnd(writer, 50)
    expect(await writer.outcome).toBe('sealed')
    expect(stage.writes.map((write) => write.entries.length)).toEqual([1, 50])
    expect(await stage.entries()).toEqual([...HISTORY, ...tokens(50), end(50)])
  })

  test('asks the source to pause at the bound and to go on at half of it', async ({ stage }) => {
    const held = Promise.withResolvers<void>()
    const pressure: [full: boolean, pending: number][] = []
    const writer = stage.start({
      pendingBound: 10,
      onPressure: (full) => pressure.push([full, writer.pending]),
      log: {
        async write(request) {
          await held.promise
          return stage.log.write(request)
        },
      },
    })
    append(writer, 0, 9)
    expect(pressure).toEqual([])
    append(writer, 9, 5)
    expect(pressure).toEqual([[true, 10]])
    held.resolve()
    await expect.poll(() => writer.pending).toBe(0)
    expect(pressure).toEqual([
      [true, 10],
      [false, 0],
    ])
    expect(await stage.entries()).toEqual([...HISTORY, ...tokens(14)])
  })

  test('refuses what follows the terminal event', async ({ stage }) => {
    const writer = stage.start()
    sealEnd(writer, 0)
    expect(() => append(writer, 0)).toThrow(/nothing can follow/)
    expect(() => writer.seal('error', '{}')).toThrow(/nothing can follow/)
    expect(await writer.outcome).toBe('sealed')
  })

  test('that was aborted begins no write, and says so', async ({ stage }) => {
    const writer = stage.start()
    writer.abort()
    append(writer, 0)
    expect(await writer.outcome).toBe('aborted')
    expect(stage.writes).toEqual([])
  })

  test('is over at once when it is aborted while Redis is silent', async ({ stage }) => {
    const writer = stage.start({ log: { write: () => new Promise(() => undefined) } })
    append(writer, 0)
    writer.abort()
    expect(await writer.outcome).toBe('aborted')
  })
})

describe('an attempt writer that is refused', () => {
  test('by the seal is sealed', async ({ stage }) => {
    const writer = stage.start()
    await stage.write(ANYTHING, CANCELLED)
    append(writer, 0, 2)
    expect(await writer.outcome).toBe('sealed')
    expect(await stage.entries()).toEqual([...HISTORY, CANCELLED])
  })

  test('its own seal by somebody else’s is sealed', async ({ stage }) => {
    const writer = stage.start()
    await stage.write(ANYTHING, CANCELLED)
    sealEnd(writer, 0)
    expect(await writer.outcome).toBe('sealed')
    expect(await stage.entries()).toEqual([...HISTORY, CANCELLED])
  })

  test('by a newer attempt is fenced', async ({ stage }) => {
    const writer = stage.start()
    await stage.write(ANYTHING, started(EPOCH + 1))
    append(writer, 0)
    expect(await writer.outcome).toBe('fenced')
    expect(await stage.entries()).toEqual([...HISTORY, started(EPOCH + 1)])
  })

  test('by an id of an older epoch that it does not know is fenced', async ({ stage }) => {
    const writer = stage.start()
    await stage.goBackTo(QUEUED, started(EPOCH - 1))
    append(writer, 0)
    expect(await writer.outcome).toBe('fenced')
    expect(await stage.entries()).toEqual([QUEUED, started(EPOCH - 1)])
  })

  test('by its own newest id has landed and goes on', async ({ stage }) => {
    let lose = true
    const writer = stage.start({
      log: {
        async write(request) {
          const result = await stage.log.write(request)
          if (!lose) return result
          lose = false
          throw new Error('Command aborted due to connection close')
        },
      },
    })
    append(writer, 0, 3)
    sealEnd(writer, 3)
    expect(await writer.outcome).toBe('sealed')
    expect(await stage.entries()).toEqual([...HISTORY, ...tokens(3), end(3)])
  })

  test('because its seal has landed and the answer was lost is sealed', async ({ stage }) => {
    const errors: unknown[] = []
    const writer = stage.start({
      onRetry: (error) => errors.push(error),
      log: {
        async write(request) {
          const result = await stage.log.write(request)
          if (errors.length > 0) return result
          throw new Error('Command aborted due to connection close')
        },
      },
    })
    sealEnd(writer, 0)
    expect(await writer.outcome).toBe('sealed')
    expect(errors).toHaveLength(1)
    expect(await stage.entries()).toEqual([...HISTORY, end(0)])
  })

  test.for<[name: string, kept: LogEntry[]]>([
    ['its tokens', [QUEUED, started(), token(0)]],
    ['its beginning', [QUEUED]],
    ['everything', []],
  ])('after Redis lost %s writes it again with its lock', async ([, kept], { stage }) => {
    const writer = stage.start({ confirmLock: async () => true })
    append(writer, 0, 3)
    await expect.poll(() => writer.pending).toBe(0)
    await stage.goBackTo(...kept)
    append(writer, 3)
    sealEnd(writer, 4)
    expect(await writer.outcome).toBe('sealed')
    expect(await stage.entries()).toEqual([...HISTORY, ...tokens(4), end(4)])
    const repeat = stage.writes.findLast((write) => write.entries.length > 2)
    expect(repeat?.entries).toEqual([...HISTORY, ...tokens(4), end(4)].slice(kept.length))
  })

  test('after Redis lost its tokens is lost without its lock', async ({ stage }) => {
    const writer = stage.start({ confirmLock: async () => false })
    append(writer, 0, 3)
    await expect.poll(() => writer.pending).toBe(0)
    await stage.goBackTo(QUEUED, started(), token(0))
    append(writer, 3)
    expect(await writer.outcome).toBe('lost')
    expect(await stage.entries()).toEqual([QUEUED, started(), token(0)])
  })

  test('asks again for its lock when the first answer does not come', async ({ stage }) => {
    const answers = [Promise.reject(new Error('Connection is closed.')), Promise.resolve(true)]
    answers[0]?.catch(() => undefined)
    const writer = stage.start({
      confirmLock: () => answers.shift() ?? Promise.reject(new Error('asked three times')),
    })
    await stage.goBackTo(QUEUED)
    append(writer, 0)
    sealEnd(writer, 1)
    expect(await writer.outcome).toBe('sealed')
    expect(await stage.entries()).toEqual([...HISTORY, token(0), end(1)])
  })
})

/** The first entry of an attempt at the test's job, as the replica `replica` writes it. */
function startedBy(replica: string): string {
  const { data } = started()
  return JSON.stringify({ ...(JSON.parse(data) as object), replica_id: replica })
}

/** Writes, and loses the answer to the first write. */
function losing(log: EventLog): Writing {
  let isLost = false
  return {
    async write(request) {
      const result = await log.write(request)
      if (isLost) return result
      isLost = true
      throw new Error('Command aborted due to connection close')
    },
  }
}

describe('two attempts with one epoch', () => {
  const begin = { history: [QUEUED] }

  test.for<[name: string, replicas: [string, string]]>([
    ['', ['a', 'b']],
    [', though they begin with the same words', ['a', 'a']],
  ])('are one: the second is fenced before it has begun%s', async ([, [a, b]], { stage }) => {
    await stage.goBackTo(QUEUED)
    const [first, second] = [stage.start(begin), stage.start(begin)]
    first.append('started', startedBy(a))
    await first.flushed()
    second.append('started', startedBy(b))
    expect(await second.outcome).toBe('fenced')
    expect(second.begun).toBe(false)
    append(first, 0, 2)
    sealEnd(first, 2)
    expect(await first.outcome).toBe('sealed')
    expect((await stage.entries()).map(({ data }) => data)).toEqual([
      QUEUED.data,
      startedBy(a),
      ...tokens(2).map(({ data }) => data),
      end(2).data,
    ])
  })

  test('are one when the first has gone on', async ({ stage }) => {
    await stage.goBackTo(QUEUED)
    const [first, second] = [stage.start(begin), stage.start(begin)]
    first.append('started', startedBy('a'))
    append(first, 0, 2)
    await first.flushed()
    second.append('started', startedBy('b'))
    append(second, 0, 3)
    expect(await second.outcome).toBe('fenced')
    expect(second.begun).toBe(false)
  })

  test('are told apart when the answer to the first write of both is lost', async ({ stage }) => {
    await stage.goBackTo(QUEUED)
    const first = stage.start({ ...begin, log: losing(stage.log) })
    const second = stage.start({ ...begin, log: losing(stage.log) })
    first.append('started', startedBy('a'))
    second.append('started', startedBy('b'))
    append(first, 0)
    append(second, 0)
    sealEnd(first, 1)
    sealEnd(second, 1)
    // The second is fenced, or later than the seal.
    expect(await first.outcome).toBe('sealed')
    await second.outcome
    expect(second.begun).toBe(false)
    expect((await stage.entries())[1]?.data).toBe(startedBy('a'))
  })

  test('are told apart after a lost tail, too', async ({ stage }) => {
    await stage.goBackTo(QUEUED)
    const first = stage.start({ ...begin, confirmLock: async () => true })
    first.append('started', startedBy('a'))
    append(first, 0, 2)
    await first.flushed()
    await stage.goBackTo(QUEUED, { ...started(), data: startedBy('b') })
    append(first, 2)
    expect(await first.outcome).toBe('fenced')
    expect((await stage.entries()).map(({ data }) => data)).toEqual([QUEUED.data, startedBy('b')])
  })
})

describe('an attempt writer whose Redis fails', () => {
  test('waits longer each time when the id it expects is the one that refuses it', async ({ stage }) => {
    const at: number[] = []
    const errors: unknown[] = []
    const writer = stage.start({
      onRetry: (error) => errors.push(error),
      log: {
        async write({ expect: expected }) {
          at.push(performance.now())
          await turn()
          return { written: false, last: expected as Cursor }
        },
      },
    })
    append(writer, 0)
    await expect.poll(() => at.length).toBeGreaterThan(3)
    writer.abort()
    const [first = 0, second = 0, third = 0, fourth = 0] = at
    // Timers fire late, never early; 40, 80 and 160 ms are the writer's pauses.
    expect([second - first > 39, third - second > 79, fourth - third > 159]).toEqual([true, true, true])
    expect(String(errors[0])).toMatch(/^Error: job j: .* expects 1000-1 was refused/)
  })

  test('waits out a refusal and then writes everything once', async ({ stage, redis }) => {
    const errors: string[] = []
    const writer = stage.start({ onRetry: (error) => errors.push(String(error)) })
    await redis.redis.config('SET', 'min-replicas-to-write', '1')
    append(writer, 0, 5)
    await expect.poll(() => errors.length).toBeGreaterThan(1)
    expect(await stage.entries()).toEqual(HISTORY)
    append(writer, 5, 5)
    await redis.redis.config('SET', 'min-replicas-to-write', '0')
    sealEnd(writer, 10)
    expect(await writer.outcome).toBe('sealed')
    expect(new Set(errors.map((error) => error.split(' ')[1]))).toEqual(new Set(['NOREPLICAS']))
    expect(await stage.entries()).toEqual([...HISTORY, ...tokens(10), end(10)])
  })

  test('goes on after its line was cut, again and again', async ({ stage, redis, proxy }) => {
    const line = await redis.connect('writer', proxy.url)
    let failures = 0
    const writer = stage.start({ log: createEventLog(line, redis.keys), onRetry: () => (failures += 1) })
    for (let i = 0; i < 4; i += 1) {
      append(writer, i * 5, 5)
      proxy.cut()
      proxy.pass()
      await expect.poll(() => writer.pending).toBe(0)
    }
    sealEnd(writer, 20)
    expect(await writer.outcome).toBe('sealed')
    expect(failures).toBeGreaterThan(0)
    expect(await stage.entries()).toEqual([...HISTORY, ...tokens(20), end(20)])
  })

  test('holds what comes while the line is silent and writes it afterwards', async ({
    stage,
    redis,
    proxy,
  }) => {
    const line = await redis.connect('writer', proxy.url)
    const writer = stage.start({ log: createEventLog(line, redis.keys) })
    proxy.stall()
    append(writer, 0, 600)
    expect(writer.pending).toBe(600)
    proxy.pass()
    sealEnd(writer, 600)
    expect(await writer.outcome).toBe('sealed')
    expect(await stage.entries()).toEqual([...HISTORY, ...tokens(600), end(600)])
  })
})

test('the ids of an attempt are what readers resume after', async ({ stage }) => {
  const writer = stage.start()
  expect(writer.append('token', JSON.stringify(tokenData(0)))).toBe(entryId(EPOCH, 2))
  expect(writer.append('token', JSON.stringify(tokenData(1)))).toBe(entryId(EPOCH, 3))
  sealEnd(writer, 2)
  await writer.outcome
  expect((await stage.entries()).map((entry) => entry.id)).toEqual([
    QUEUED_ID,
    entryId(EPOCH, 1),
    entryId(EPOCH, 2),
    entryId(EPOCH, 3),
    SEAL_ID,
  ])
})

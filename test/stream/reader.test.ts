import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import type { Cursor } from '../../src/contract/stream-id.ts'
import { QUEUED_ID, SEAL_ID, START } from '../../src/contract/stream-id.ts'
import { connectToServer } from '../../src/redis/connect.ts'
import { startRedisServer } from '../../src/redis/server.ts'
import type { LogEntry } from '../../src/stream/entry.ts'
import { parseEntry } from '../../src/stream/entry.ts'
import { ANYTHING, createEventLog } from '../../src/stream/event-log.ts'
import type { EventLog, WriteRequest } from '../../src/stream/event-log.ts'
import { createHub } from '../../src/stream/hub.ts'
import type { Hub } from '../../src/stream/hub.ts'
import { readEvents } from '../../src/stream/reader.ts'
import type { ReadOptions, Restart } from '../../src/stream/reader.ts'
import type { JobEvent } from '../../src/contract/event.ts'
import { openLine } from '../support/line.ts'
import type { Line } from '../support/line.ts'
import { test as base } from '../support/redis.ts'
import { CANCELLED, end, EPOCH, idsOf, QUEUED, started, token, tokens } from './entries.ts'

const WHOLE = [QUEUED, started(), ...tokens(3), end(3)]
const DEADLINE_AT = Date.now() + 100_000

interface Lines {
  /** A hub on the Redis of the test, or on another address. */
  open(url?: string): Hub
}

const test = base
  .extend('log', async ({ redis }): Promise<EventLog> => createEventLog(redis.redis, redis.keys))
  .extend('lines', async ({ redis }, { onCleanup }): Promise<Lines> => {
    const opened: Line[] = []
    onCleanup(() => {
      for (const line of opened) line.close()
    })
    return {
      open(url = redis.url) {
        const line = openLine(createHub, url)
        opened.push(line)
        return line.hub
      },
    }
  })

async function write(log: EventLog, expected: WriteRequest['expect'], ...entries: LogEntry[]): Promise<void> {
  const request = { jobId: 'j', expect: expected, entries, deadlineAt: DEADLINE_AT, retentionMs: 60_000 }
  expect(await log.write(request)).toMatchObject({ written: true })
}

/** What a reader has told so far, and how it ends. */
function collect(options: Omit<ReadOptions, 'jobId' | 'queueHolds'> & Partial<ReadOptions>) {
  const seen: (JobEvent | Restart)[] = []
  const done = (async () => {
    for await (const event of readEvents({ jobId: 'j', queueHolds: async () => false, ...options }))
      seen.push(event)
  })()
  // Each test looks at how it ends in its own time.
  done.catch(() => undefined)
  return { seen, done, ids: () => idsOf(seen) }
}

const RESTART = (reason: string) => ({ id: START, event: 'restart', data: { reason } })

describe('a reader', () => {
  test('sees a whole job as it was written', async ({ lines, log, redis }) => {
    await write(log, START, ...WHOLE)
    const reader = collect({ hub: lines.open(), keys: redis.keys })
    await reader.done
    expect(reader.seen).toEqual(WHOLE.map(parseEntry))
  })

  test('that resumes after any id sees what follows it', async ({ lines, log, redis }) => {
    await write(log, START, ...WHOLE)
    const hub = lines.open()
    for (const [index, { id }] of WHOLE.entries()) {
      const reader = collect({ hub, keys: redis.keys, after: id })
      await reader.done
      expect(reader.ids()).toEqual(idsOf(WHOLE.slice(index + 1)))
    }
  })

  test('sees each event as it comes', async ({ lines, log, redis }) => {
    await write(log, START, QUEUED)
    const reader = collect({ hub: lines.open(), keys: redis.keys })
    let last: Cursor = QUEUED_ID
    for (const [index, entry] of WHOLE.slice(1).entries()) {
      await expect.poll(() => reader.ids(), { interval: 2 }).toEqual(idsOf(WHOLE.slice(0, index + 1)))
      await write(log, last, entry)
      last = entry.id
    }
    await reader.done
    expect(reader.ids()).toEqual(idsOf(WHOLE))
  })

  test('sees more events than one read brings', async ({ lines, log, redis }) => {
    const whole = [QUEUED, started(), ...tokens(2000), end(2000)]
    await write(log, START, ...whole)
    const reader = collect({ hub: lines.open(), keys: redis.keys })
    await reader.done
    expect(reader.ids()).toEqual(idsOf(whole))
  })

  test('waits for a job that the queue holds and nobody has begun', async ({ lines, log, redis }) => {
    const reader = collect({
      hub: lines.open(),
      keys: redis.keys,
      queueHolds: async () => true,
    })
    await write(log, START, ...WHOLE.slice(1))
    await reader.done
    expect(reader.ids()).toEqual(idsOf(WHOLE.slice(1)))
  })

  test('takes several beginnings without tokens between them', async ({ lines, log, redis }) => {
    const second = EPOCH + 5
    const whole = [QUEUED, started(), started(second), ...tokens(2, second), end(2)]
    await write(log, START, ...whole)
    const reader = collect({ hub: lines.open(), keys: redis.keys })
    await reader.done
    expect(reader.ids()).toEqual(idsOf(whole))
  })

  test('ends by throwing the reason of its signal, at once', async ({ lines, log, redis }) => {
    await write(log, START, QUEUED)
    const abort = new AbortController()
    const reader = collect({ hub: lines.open(), keys: redis.keys, signal: abort.signal })
    await expect.poll(() => reader.seen.length).toBe(1)
    const reason = new Error('enough')
    const from = performance.now()
    abort.abort(reason)
    await expect(reader.done).rejects.toBe(reason)
    // The read that waits ends by itself after five seconds.
    expect(performance.now() - from).toBeLessThan(4000)
  })

  test('that is aborted between two events ends at once, though nothing more comes', async ({
    lines,
    log,
    redis,
  }) => {
    await write(log, START, QUEUED, started())
    const abort = new AbortController()
    const options = {
      hub: lines.open(),
      keys: redis.keys,
      jobId: 'j',
      queueHolds: async () => false,
      signal: abort.signal,
    }
    const from = performance.now()
    const reading = (async () => {
      for await (const event of readEvents(options))
        if (event.event === 'started') abort.abort(new Error('enough'))
    })()
    await expect(reading).rejects.toThrow('enough')
    // The read that waits ends by itself after five seconds.
    expect(performance.now() - from).toBeLessThan(4000)
  })

  test('with a signal that is aborted already reads nothing', async ({ lines, log, redis }) => {
    await write(log, START, ...WHOLE)
    const reason = new Error('too late')
    const hub = lines.open()
    const reader = collect({ hub, keys: redis.keys, signal: AbortSignal.abort(reason) })
    await expect(reader.done).rejects.toBe(reason)
    expect(reader.seen).toEqual([])
  })

  test('that is left early leaves nothing behind', async ({ lines, log, redis }) => {
    await write(log, START, ...WHOLE)
    const abort = new AbortController()
    const hub = lines.open()
    const options = {
      hub,
      keys: redis.keys,
      jobId: 'j',
      queueHolds: async () => false,
      signal: abort.signal,
    }
    for await (const event of readEvents(options)) if (event.event === 'token') break
    abort.abort()
    // Others go on reading from the same hub.
    const reader = collect({ hub, keys: redis.keys })
    await reader.done
    expect(reader.ids()).toEqual(idsOf(WHOLE))
  })
})

describe('a reader of what is not there', () => {
  test('is told that there is no such job', async ({ lines, redis }) => {
    const reader = collect({ hub: lines.open(), keys: redis.keys })
    await expect(reader.done).rejects.toMatchObject({ kind: 'UNKNOWN_JOB' })
  })

  test.for([QUEUED_ID, token(0).id, SEAL_ID])(
    'after %s is told that it is gone',
    async (after, { lines, redis }) => {
      const reader = collect({ hub: lines.open(), keys: redis.keys, after })
      await expect(reader.done).rejects.toMatchObject({ kind: 'GONE' })
    },
  )

  test('that expires while it is read is told that it is gone', async ({ lines, log, redis, proxy }) => {
    await write(log, START, QUEUED, started(), token(0))
    const hub = lines.open(proxy.url)
    const reader = collect({ hub, keys: redis.keys })
    await expect.poll(() => reader.seen.length).toBe(3)
    await redis.redis.pexpire(redis.keys.events('j'), 1)
    // It looks by itself after five seconds; a broken line makes it look now.
    proxy.cut()
    proxy.pass()
    await expect(reader.done).rejects.toMatchObject({ kind: 'GONE' })
  })

  test('finds the job that was added between its two looks', async ({ lines, log, redis }) => {
    const reader = collect({
      hub: lines.open(),
      keys: redis.keys,
      queueHolds: async () => {
        await write(log, START, ...WHOLE)
        return false
      },
    })
    await reader.done
    expect(reader.ids()).toEqual(idsOf(WHOLE))
  })
})

describe('a reader whose Redis has lost what it holds', () => {
  test('is told to start again when its cursor is missing', async ({ lines, log, redis }) => {
    await write(log, START, ...WHOLE)
    const hub = lines.open()
    const reader = collect({ hub, keys: redis.keys, after: token(7).id })
    await reader.done
    expect(reader.seen).toEqual([RESTART('cursor_missing'), ...WHOLE.map(parseEntry)])
  })

  test.for<[name: string, next: LogEntry[]]>([
    ['the next token', [token(3), end(4)]],
    ['the next attempt', [started(EPOCH + 1, 3), CANCELLED]],
    ['the end', [end(3)]],
  ])('is told to start again when %s does not fit', async ([, next], { lines, log, redis }) => {
    await write(log, START, QUEUED, started(), token(0))
    const reader = collect({ hub: lines.open(), keys: redis.keys })
    await expect.poll(() => reader.seen.length).toBe(3)
    // As a failover would leave it, but on the same line: under its hands, the log grows where it did not look.
    await redis.redis.del(redis.keys.events('j'))
    const whole = [QUEUED, started(), token(0), token(1), token(2)]
    const script = redis.redis.multi()
    for (const entry of [...whole.slice(0, 3), ...next]) {
      script.xadd(redis.keys.events('j'), entry.id, 'event', entry.event, 'data', entry.data)
    }
    await script.exec()
    await expect.poll(() => reader.seen[3]).toEqual(RESTART('misfit'))
    // What stays wrong however often it is read is our own fault, and said so.
    await expect(reader.done).rejects.toMatchObject({ kind: 'INTERNAL' })
  })

  test('goes on where an attempt takes fewer tokens over than it holds', async ({ lines, log, redis }) => {
    const second = EPOCH + 9
    await write(log, START, QUEUED, started(), ...tokens(3))
    await write(log, token(2).id, started(second, 1))
    const reader = collect({ hub: lines.open(), keys: redis.keys })
    await expect.poll(() => reader.seen.length).toBe(6)
    await write(log, started(second, 1).id, { ...token(1), id: `${second}-2` as Cursor }, end(2))
    await reader.done
    expect(reader.seen.some((event) => event.event === 'restart')).toBe(false)
    expect(reader.seen).toHaveLength(8)
  })
})

describe('a reader whose line breaks', () => {
  test('sees every event once', async ({ lines, log, redis, proxy }) => {
    const hub = lines.open(proxy.url)
    await write(log, START, QUEUED, started())
    const reader = collect({ hub, keys: redis.keys })
    let last = started().id
    for (const entry of tokens(3)) {
      await expect.poll(() => reader.ids().at(-1), { interval: 5 }).toBe(last)
      proxy.cut()
      await write(log, last, entry)
      proxy.pass()
      last = entry.id
    }
    await write(log, last, end(3))
    await reader.done
    expect(reader.ids()).toEqual(idsOf(WHOLE))
  })

  test('gives up after its patience', async ({ lines, log, redis, proxy }) => {
    const hub = lines.open(proxy.url)
    await write(log, START, QUEUED)
    const reader = collect({ hub, keys: redis.keys, patienceMs: 200 })
    await expect.poll(() => reader.seen.length).toBe(1)
    proxy.cut()
    await expect(reader.done).rejects.toMatchObject({ kind: 'REDIS_UNAVAILABLE' })
  })

  test('goes on when Redis was restarted with what it had', async ({ lines, redis: { keys } }) => {
    const dir = await mkdtemp(join(tmpdir(), 'tgi-pool-reader-'))
    let server = await startRedisServer({ dir })
    const hub = lines.open(server.url)
    const writer = await connectToServer(server.url, { role: 'commands' })
    try {
      await write(createEventLog(writer, keys), START, QUEUED, started(), token(0))
      const reader = collect({ hub, keys })
      await expect.poll(() => reader.seen.length).toBe(3)
      await server.stop()
      server = await startRedisServer({ dir, port: server.port })
      await expect.poll(() => writer.status).toBe('ready')
      await write(createEventLog(writer, keys), ANYTHING, token(1), token(2), end(3))
      await reader.done
      expect(reader.ids()).toEqual(idsOf(WHOLE))
    } finally {
      writer.disconnect()
      await server.stop()
      await rm(dir, { recursive: true })
    }
  })
})

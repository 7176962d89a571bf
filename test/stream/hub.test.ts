import type { Redis } from 'ioredis'
import fc from 'fast-check'
import { describe, expect } from 'vitest'
import type { JobEvent } from '../../src/contract/event.ts'
import { QUEUED_ID, SEAL_ID, START } from '../../src/contract/stream-id.ts'
import type { Cursor } from '../../src/contract/stream-id.ts'
import { connectToServer } from '../../src/redis/connect.ts'
import { startRedisServer } from '../../src/redis/server.ts'
import type { LogEntry } from '../../src/stream/entry.ts'
import { createHub } from '../../src/stream/hub.ts'
import type { Hub } from '../../src/stream/hub.ts'
import { readEvents } from '../../src/stream/reader.ts'
import type { Restart } from '../../src/stream/reader.ts'
import { openLine } from '../support/line.ts'
import type { Line } from '../support/line.ts'
import { test as base } from '../support/redis.ts'
import type { RedisFixture } from '../support/redis.ts'
import { end, idsOf, QUEUED, started, token, tokens } from './entries.ts'

const test = base.extend('line', async ({ redis }, { onCleanup }): Promise<Line> => {
  const line = openLine(createHub, redis.url)
  onCleanup(() => line.close())
  return line
})

/** Appends as a worker would, without its checks. */
async function append({ redis, keys }: RedisFixture, jobId: string, ...entries: LogEntry[]): Promise<void> {
  await Promise.all(
    entries.map(({ id, event, data }) => redis.xadd(keys.events(jobId), id, 'event', event, 'data', data)),
  )
}

interface Reading {
  readonly ids: string[]
  readonly done: Promise<void>
}

function read(hub: Hub, redis: RedisFixture, jobId: string, after: Cursor = START): Reading {
  const ids: string[] = []
  const done = (async () => {
    const options = { hub, keys: redis.keys, jobId, after, queueHolds: async () => true }
    for await (const event of readEvents(options)) ids.push(event.id)
  })()
  done.catch(() => undefined)
  return { ids, done }
}

/** The feeds block; what is asked in between is answered by the other connection. */
async function blocked(redis: Redis, count: number): Promise<void> {
  await expect.poll(async () => String(await redis.client('LIST')).match(/cmd=xread/g)).toHaveLength(count)
}

describe('a hub', () => {
  test('reads 1,500 live jobs over three connections', async ({ line, redis }) => {
    const jobs = Array.from({ length: 1500 }, (_, index) => `j${index}`)
    const readings = jobs.map((jobId) => read(line.hub, redis, jobId))
    await blocked(redis.redis, 2)
    const whole = [QUEUED, started(), ...tokens(5), end(5)]
    for (const entry of whole) await Promise.all(jobs.map((jobId) => append(redis, jobId, entry)))
    await Promise.all(readings.map(({ done }) => done))
    for (const { ids } of readings) expect(ids).toEqual(idsOf(whole))
    expect(line.opened).toBe(3)
  })

  test('tells a reader that joins while another read waits, at once', async ({ line, redis }) => {
    const first = read(line.hub, redis, 'a')
    await blocked(redis.redis, 1)
    const second = read(line.hub, redis, 'b')
    // The read that waits gives up after five seconds by itself.
    const since = performance.now()
    await append(redis, 'b', QUEUED, started())
    await expect.poll(() => second.ids, { interval: 2 }).toHaveLength(2)
    expect(performance.now() - since).toBeLessThan(4000)
    await append(redis, 'a', QUEUED, end(0))
    await append(redis, 'b', end(0))
    await Promise.all([first.done, second.done])
  })

  test('gives 200 readers of one job the same events, whenever and wherever they join', async ({
    line,
    redis,
  }) => {
    const whole = [QUEUED, started(), ...tokens(600), end(600)]
    const readings: { reading: Reading; from: number }[] = []
    for (const [index, entry] of whole.entries()) {
      await append(redis, 'j', entry)
      if (index % 3 !== 0) continue
      const from = (index * 7) % (index + 1)
      readings.push({ reading: read(line.hub, redis, 'j', whole[from]?.id), from })
    }
    await Promise.all(readings.map(({ reading }) => reading.done))
    for (const { reading, from } of readings) expect(reading.ids).toEqual(idsOf(whole.slice(from + 1)))
    expect(line.opened).toBe(2)
  })

  test('has no hole and no repeat at the seam, however readers come and go', async ({ line, redis }) => {
    let job = 0
    const plan = fc.record({
      tokens: fc.integer({ min: 1, max: 60 }),
      // After how many entries a reader joins, where, and after how many events it leaves and comes back.
      readers: fc.array(fc.record({ at: fc.nat(60), from: fc.nat(60), leaves: fc.nat(20) }), {
        minLength: 1,
        maxLength: 8,
      }),
    })
    await fc.assert(
      fc.asyncProperty(plan, async ({ tokens: count, readers }) => {
        const jobId = `j${(job += 1)}`
        const whole = [QUEUED, started(), ...tokens(count), end(count)]
        const runs: Promise<void>[] = []
        for (const [index, entry] of whole.entries()) {
          await append(redis, jobId, entry)
          for (const { from, leaves } of readers.filter(({ at }) => at % whole.length === index)) {
            const cursor = whole[from % (index + 1)]?.id ?? START
            runs.push(readInParts(line.hub, redis, jobId, cursor, leaves + 1, whole))
          }
        }
        await Promise.all(runs)
      }),
      { numRuns: 150 },
    )
  })

  test('serves a reader that stands still from the log again, without keeping what it missed', async ({
    line,
    redis,
  }) => {
    await append(redis, 'j', QUEUED, started())
    const options = { hub: line.hub, keys: redis.keys, jobId: 'j', queueHolds: async () => true }
    const slow = readEvents(options)[Symbol.asyncIterator]()
    const fast = read(line.hub, redis, 'j')
    const seen: (JobEvent | Restart)[] = []
    for (let count = 0; count < 2; count += 1) seen.push((await slow.next()).value as JobEvent)
    const next = slow.next()
    await blocked(redis.redis, 1)
    const all = tokens(5000)
    for (let at = 0; at < all.length; at += 100) await append(redis, 'j', ...all.slice(at, at + 100))
    await append(redis, 'j', end(5000))
    await fast.done
    seen.push((await next).value as JobEvent)
    for (let step = await slow.next(); step.done !== true; step = await slow.next()) seen.push(step.value)
    const whole = idsOf([QUEUED, started(), ...all, end(5000)])
    expect(seen.map(({ id }) => id)).toEqual(whole)
    expect(fast.ids).toEqual(whole)
  })

  test('goes on for all readers when any of its connections is cut', async ({ line, redis }) => {
    const jobs = ['a', 'b', 'c']
    const readings = jobs.map((jobId) => read(line.hub, redis, jobId))
    const whole = [QUEUED, started(), ...tokens(6), end(6)]
    for (const [index, entry] of whole.entries()) {
      await Promise.all(jobs.map((jobId) => append(redis, jobId, entry)))
      if (index % 2 === 0) [...line.connections][index % 4 === 0 ? 0 : 1]?.disconnect(true)
      await expect.poll(() => readings.map(({ ids }) => ids.length)).toEqual(jobs.map(() => index + 1))
    }
    await Promise.all(readings.map(({ done }) => done))
    for (const { ids } of readings) expect(ids).toEqual(idsOf(whole))
  })

  test('fails the reader of an entry that is none of ours, and nobody else', async ({ line, redis }) => {
    await append(redis, 'good', QUEUED)
    await append(redis, 'bad', QUEUED)
    const good = read(line.hub, redis, 'good')
    const bad = read(line.hub, redis, 'bad')
    await expect.poll(() => [good.ids.length, bad.ids.length]).toEqual([1, 1])
    await redis.redis.xadd(redis.keys.events('bad'), '5-1', 'event', 'token', 'data', '{"t":1}')
    await expect(bad.done).rejects.toMatchObject({ kind: 'INTERNAL' })
    await append(redis, 'good', started(), end(0))
    await good.done
    expect(good.ids).toEqual([QUEUED_ID, started().id, SEAL_ID])
  })

  test('says that it has read past a cursor instead of joining it there', async ({ line, redis }) => {
    await append(redis, 'j', QUEUED)
    const session = await line.hub.session(redis.keys)
    const tap = session.follow(redis.keys, 'j', QUEUED_ID)
    await append(redis, 'j', started(), token(0))
    await expect.poll(async () => (await tap?.next())?.at(-1)?.id).toBe(token(0).id)
    expect(session.follow(redis.keys, 'j', started().id)).toBeUndefined()
    const joined = session.follow(redis.keys, 'j', token(0).id)
    await append(redis, 'j', token(1))
    expect(idsOf((await joined?.next()) ?? [])).toEqual([token(1).id])
    tap?.end()
    joined?.end()
  })

  test('does not hand a stream that was given up and joined anew what an older read brings', async ({
    line,
    redis,
  }) => {
    await append(redis, 'j', QUEUED, started(), token(0))
    const session = await line.hub.session(redis.keys)
    const first = session.follow(redis.keys, 'j', token(0).id)
    await blocked(redis.redis, 1)
    // The read that waits began after token 0; who joins now stands before it.
    first?.end()
    const second = session.follow(redis.keys, 'j', QUEUED_ID)
    await append(redis, 'j', token(1))
    const ids: Cursor[] = []
    while (ids.length < 3) ids.push(...idsOf((await second?.next()) ?? []))
    expect(ids).toEqual([started().id, token(0).id, token(1).id])
    second?.end()
  })

  test('gives a server up that is frozen, and goes on when it wakes', async ({ redis: { keys } }) => {
    const server = await startRedisServer()
    const line = openLine(createHub, server.url)
    const writer = await connectToServer(server.url, { role: 'commands' })
    const add = ({ id, event, data }: LogEntry) =>
      writer.xadd(keys.events('j'), id, 'event', event, 'data', data)
    try {
      await add(QUEUED)
      const ids: string[] = []
      const options = { hub: line.hub, keys, jobId: 'j', queueHolds: async () => true }
      const done = (async () => {
        for await (const { id } of readEvents(options)) ids.push(id)
      })()
      await blocked(writer, 1)
      process.kill(server.pid, 'SIGSTOP')
      // Ten seconds after its last read began.
      await expect.poll(() => line.connections.size).toBe(0)
      process.kill(server.pid, 'SIGCONT')
      await add(started())
      await add(end(0))
      await done
      expect(ids).toEqual([QUEUED_ID, started().id, SEAL_ID])
    } finally {
      process.kill(server.pid, 'SIGCONT')
      line.close()
      writer.disconnect()
      await server.stop()
    }
  })

  test('that is closed ends its readers', async ({ line, redis }) => {
    const abort = new AbortController()
    const options = { hub: line.hub, keys: redis.keys, jobId: 'j', queueHolds: async () => true }
    const iterator = readEvents({ ...options, signal: abort.signal })
    const next = iterator.next()
    await blocked(redis.redis, 1)
    abort.abort(new Error('closed'))
    line.close()
    await expect(next).rejects.toThrow('closed')
    await expect.poll(() => line.connections.size).toBe(0)
  })
})

/** Reads to the end, leaving after every so many events and coming back; what was seen must be all above the cursor. */
async function readInParts(
  hub: Hub,
  redis: RedisFixture,
  jobId: string,
  cursor: Cursor,
  events: number,
  whole: readonly LogEntry[],
): Promise<void> {
  const seen: Cursor[] = []
  let after = cursor
  while (after !== SEAL_ID) {
    let left = events
    const options = { hub, keys: redis.keys, jobId, after, queueHolds: async () => true }
    for await (const { id } of readEvents(options)) {
      seen.push(id)
      after = id
      left -= 1
      if (left === 0) break
    }
  }
  const from = whole.findIndex(({ id }) => id === cursor)
  expect(seen).toEqual(idsOf(whole.slice(from + 1)))
}

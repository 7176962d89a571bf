import { connect } from 'node:net'
import type { RedisConnection } from '../../src/redis/connect.ts'
import { describe, expect, onTestFinished } from 'vitest'
import { SEAL_ID } from '../../src/contract/stream-id.ts'
import { readLog, tokensIn } from '../support/job-log.ts'
import { KEYS, POOL } from '../support/lab.ts'
import { createManualClock } from '../support/manual-clock.ts'
import { call, expectError } from './calls.ts'
import { openEvents, readAll } from './sse-client.ts'
import { test } from './stage.ts'

describe('GET /v1/jobs/:id/events', () => {
  test('sends a job from its first event to its last, and ends', async ({ lab, gateway }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica())
    const { url } = await gateway()
    const { job_id: id } = await client.enqueue({ inputs: 'x', parameters: { max_new_tokens: 20 } })
    const answer = await openEvents(`${url}/v1/jobs/${id}/events`)
    expect(answer.headers).toMatchObject({
      'content-type': 'text/event-stream; charset=utf-8',
      'cache-control': 'no-store, no-transform',
      'x-accel-buffering': 'no',
    })
    expect(await answer.ended).toBe(true)
    expect(answer.body).toMatch(/^retry: 1000\n\n/)
    const log = await readLog(lab.redis, KEYS, id)
    expect(answer.events).toEqual(log)
    expect(answer.events.at(-1)?.event).toBe('end')
  })

  test('goes on after any event, by header or by query, the header first', async ({ lab, gateway }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica())
    const { url } = await gateway()
    const { job_id: id } = await client.enqueue({ inputs: 'x', parameters: { max_new_tokens: 6 } })
    const events = `${url}/v1/jobs/${id}/events?pool=${POOL}`
    const all = await readAll(events)
    expect(all.length).toBe(9)
    for (const [index, { id: last }] of all.entries()) {
      if (last === SEAL_ID) continue
      const rest = all.slice(index + 1)
      expect(await readAll(`${events}&after=${last}`)).toEqual(rest)
      expect(await readAll(`${events}&after=0-1`, { 'Last-Event-ID': last })).toEqual(rest)
    }
    expect(await readAll(events, { 'Last-Event-ID': '' })).toEqual(all)
    expect(await readAll(`${events}&after=0-0`)).toEqual(all)
  })

  test('leaves the connection open for the next request when the stream is over', async ({
    lab,
    gateway,
  }) => {
    const client = await lab.client()
    const { port } = await gateway()
    const { job_id: id } = await client.enqueue({ inputs: 'x' })
    await client.cancel(id)
    const socket = connect(port, '127.0.0.1').setEncoding('utf8')
    onTestFinished(() => void socket.destroy())
    let text = ''
    socket.on('data', (more: string) => (text += more))
    const ends = () => text.split('\r\n0\r\n\r\n').length - 1
    for (const nth of [1, 2]) {
      socket.write(`GET /v1/jobs/${id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n`)
      await expect.poll(ends).toBe(nth)
    }
  })

  test('says 204 after the terminal event, so that an EventSource does not come again', async ({
    lab,
    gateway,
  }) => {
    const client = await lab.client()
    const { url } = await gateway()
    const { job_id: id } = await client.enqueue({ inputs: 'x' })
    await client.cancel(id)
    const answer = await call(`${url}/v1/jobs/${id}/events`, { headers: { 'Last-Event-ID': SEAL_ID } })
    expect([answer.status, answer.text]).toEqual([204, ''])
  })

  test('says what it cannot send before it sends anything', async ({ lab, gateway }) => {
    const client = await lab.client()
    const { url } = await gateway()
    expectError(await call(`${url}/v1/jobs/nobody/events`), 404, 'UNKNOWN_JOB')
    expectError(await call(`${url}/v1/jobs/nobody/events?pool=${POOL}`), 404, 'UNKNOWN_JOB')
    for (const cursor of ['1763812345678901-2', SEAL_ID]) {
      expectError(await call(`${url}/v1/jobs/nobody/events?pool=${POOL}&after=${cursor}`), 410, 'GONE')
    }
    const { job_id: id } = await client.enqueue({ inputs: 'x' })
    expectError(await call(`${url}/v1/jobs/${id}/events?after=yesterday`), 400, 'INVALID_PARAMS')
    expectError(
      await call(`${url}/v1/jobs/${id}/events`, { headers: { 'Last-Event-ID': '$' } }),
      400,
      'INVALID_PARAMS',
    )
  })

  test('tells a reader to begin again when the log has lost its place', async ({ lab, gateway }) => {
    const client = await lab.client()
    const { url } = await gateway()
    const { job_id: id } = await client.enqueue({ inputs: 'x' })
    await client.cancel(id)
    const events = await readAll(`${url}/v1/jobs/${id}/events?after=1763812345678901-9`)
    expect(events.map((event) => [event.id, event.event])).toEqual([
      ['0-0', 'restart'],
      ['0-1', 'queued'],
      [SEAL_ID, 'error'],
    ])
  })

  test('has headers alone for HEAD', async ({ lab, gateway }) => {
    const client = await lab.client()
    const gate = await gateway()
    const { job_id: id } = await client.enqueue({ inputs: 'x' })
    const answer = await call(`${gate.url}/v1/jobs/${id}/events`, { method: 'HEAD' })
    expect([answer.status, answer.text]).toEqual([200, ''])
    expect(answer.headers['content-type']).toBe('text/event-stream; charset=utf-8')
    expect((await call(`${gate.url}/v1/jobs/nobody/events`, { method: 'HEAD' })).status).toBe(404)
    expect(gate.streams).toBe(0)
  })

  test('sends no chunks to a proxy that speaks HTTP/1.0', async ({ lab, gateway }) => {
    const client = await lab.client()
    const { port } = await gateway()
    const { job_id: id } = await client.enqueue({ inputs: 'x' })
    await client.cancel(id)
    const text = await new Promise<string>((resolve) => {
      let all = ''
      const socket = connect(port, '127.0.0.1')
      socket.setEncoding('utf8').on('data', (more: string) => (all += more))
      socket.on('close', () => resolve(all))
      socket.write(`GET /v1/jobs/${id}/events HTTP/1.0\r\nHost: localhost\r\n\r\n`)
    })
    expect(text.toLowerCase()).not.toContain('transfer-encoding')
    expect(text.slice(text.indexOf('\r\n\r\n') + 4)).toMatch(/^retry: 1000\n\nid: 0-1\n[^]*\n\n$/)
  })

  test('fills silence with comments, before and between events', async ({ lab, gateway }) => {
    const client = await lab.client()
    const { url } = await gateway({ heartbeatMs: 20 })
    const { job_id: id } = await client.enqueue({ inputs: 'x' })
    const answer = await openEvents(`${url}/v1/jobs/${id}/events?after=0-1`)
    await expect.poll(() => answer.comments.length).toBeGreaterThan(2)
    await client.cancel(id)
    expect(await answer.ended).toBe(true)
    expect(answer.events.map(({ event }) => event)).toEqual(['error'])
  })

  test('takes no more streams than it may, and room is made by those that leave', async ({
    lab,
    gateway,
  }) => {
    const client = await lab.client()
    const gate = await gateway({ maxStreams: 2 })
    const { job_id: id } = await client.enqueue({ inputs: 'x' })
    const events = `${gate.url}/v1/jobs/${id}/events`
    const first = await openEvents(events)
    const second = await openEvents(events)
    const refused = await call(events)
    expectError(refused, 503, 'OVERLOADED')
    expect(refused.headers['retry-after']).toBe('1')
    first.leave()
    await expect.poll(() => gate.streams).toBe(1)
    const third = await openEvents(events)
    expect(third.status).toBe(200)
    second.leave()
    third.leave()
    await expect.poll(() => gate.streams).toBe(0)
  })
})

describe('a reader that leaves', () => {
  test('ends its read at once, and its job goes on', async ({ lab, gateway }) => {
    const client = await lab.client()
    const clock = createManualClock()
    const replica = await lab.replica({ clock, tokensPerSecond: 100 })
    await lab.worker(replica)
    const gate = await gateway()
    const { job_id: id } = await client.enqueue({ inputs: 'x', parameters: { max_new_tokens: 60 } })
    const answer = await openEvents(`${gate.url}/v1/jobs/${id}/events`)
    await tokensIn(lab.redis, KEYS, id)
    answer.leave()
    await expect.poll(() => gate.streams).toBe(0)
    expect(replica.seen.open).toBe(1)
    clock.run()
    await expect.poll(async () => (await client.job(id)).state).toBe('ended')
    await expect
      .poll(() => gate.lines.find((line) => line['route'] === '/v1/jobs/:id/events'))
      .toMatchObject({ status: 200, cut: true, job_id: id, events: expect.any(Number) })
  })

  test('may leave before it has heard anything', async ({ lab, gateway }) => {
    const client = await lab.client()
    const gate = await gateway()
    const { job_id: id } = await client.enqueue({ inputs: 'x' })
    for (let n = 0; n < 20; n += 1) {
      const socket = connect(gate.port, '127.0.0.1')
      socket.write(`GET /v1/jobs/${id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n`)
      await new Promise((resolve) => setTimeout(resolve, n % 7))
      socket.destroy()
    }
    await expect.poll(() => gate.streams).toBe(0)
    expect((await call(`${gate.url}/livez`)).status).toBe(200)
  })
})

describe('a reader that does not take its events', () => {
  test('is cut, holds up nobody, and goes on without a hole', async ({ lab, gateway }) => {
    const client = await lab.client()
    const gate = await gateway({ stallMs: 1000 })
    const { job_id: id } = await client.enqueue({ inputs: 'x' })
    await writeMuch(lab.redis, id)
    const events = `${gate.url}/v1/jobs/${id}/events`
    const slow = await openEvents(events)
    slow.pause()
    const quick = await readAll(events)
    expect(quick.length).toBe(303)
    await expect.poll(() => gate.streams).toBe(0)
    // What it had been sent before is all it has; it reads that now, and comes again with the last id.
    const first = await readRest(slow)
    const last = first.at(-1)?.id ?? '0-0'
    expect(last).not.toBe(SEAL_ID)
    const rest = await readAll(events, { 'Last-Event-ID': last })
    expect([...first, ...rest].map(({ id: eventId }) => eventId)).toEqual(
      quick.map(({ id: eventId }) => eventId),
    )
  })
})

describe('a gateway that stops', () => {
  test('ends streams after an event; the rest comes from another one', async ({ lab, gateway }) => {
    const client = await lab.client()
    const clock = createManualClock()
    await lab.worker(await lab.replica({ clock, tokensPerSecond: 200 }))
    const gate = await gateway()
    const other = await gateway()
    const { job_id: id } = await client.enqueue({ inputs: 'x', parameters: { max_new_tokens: 100 } })
    const answer = await openEvents(`${gate.url}/v1/jobs/${id}/events`)
    await tokensIn(lab.redis, KEYS, id)
    clock.advance(25)
    await expect.poll(() => answer.events.length).toBeGreaterThan(5)
    const stopped = gate.stop(60_000)
    clock.run()
    await stopped
    expect(await answer.ended).toBe(true)
    expect(answer.body.endsWith('\n\n')).toBe(true)
    const last = answer.events.at(-1)?.id ?? ''
    const rest = await readAll(`${other.url}/v1/jobs/${id}/events`, { 'Last-Event-ID': last })
    expect([...answer.events, ...rest]).toEqual(await readLog(lab.redis, KEYS, id))
    await gate.stop()
  })
})

test('gateways start and stop in any order, as often as one likes', async ({ lab, gateway }) => {
  const client = await lab.client()
  const { job_id: id } = await client.enqueue({ inputs: 'x' })
  for (let n = 0; n < 10; n += 1) {
    const gate = await gateway()
    const stream = n % 2 === 0 ? await openEvents(`${gate.url}/v1/jobs/${id}/events`) : undefined
    const stops = [gate.stop(n % 3 === 0 ? 0 : 5000), gate.stop()]
    await Promise.all(stops)
    await stream?.ended
    expect(gate.streams).toBe(0)
    await expect(call(`${gate.url}/livez`)).rejects.toThrow('ECONNREFUSED')
  }
})

/** A log of 30 MB: more than the buffers of two sockets on loopback may grow to (tcp_rmem, tcp_wmem: 6 and 4 MB). */
async function writeMuch(redis: RedisConnection, jobId: string): Promise<void> {
  const epoch = 1_763_812_345_678_901
  const add = (id: string, event: string, data: object) =>
    redis.xadd(KEYS.events(jobId), id, 'event', event, 'data', JSON.stringify(data))
  await add(`${epoch}-1`, 'started', {
    attempt: 1,
    engine: 'tgi',
    engine_version: '3',
    pool_id: POOL,
    replica_id: 'r',
    model_id: 'm',
    seed: 1,
    queue_time_ms: 1,
    determinism: 'best_effort',
    next_token: 0,
  })
  for (let i = 0; i < 300; i += 1) {
    await add(`${epoch}-${i + 2}`, 'token', { t: 'x'.repeat(100_000), i, id: 1, logprob: null })
  }
  await add(SEAL_ID, 'error', {
    code: 'CANCELLED',
    message: 'cancelled',
    retriable: false,
    engine: 'tgi',
    pool_id: POOL,
    tokens_out: 300,
  })
}

/** What lies in a paused answer, to its end. */
async function readRest(answer: Awaited<ReturnType<typeof openEvents>>) {
  answer.resume()
  expect(await answer.ended).toBe(false)
  return [...answer.events]
}

import { rm, writeFile } from 'node:fs/promises'
import { describe, expect } from 'vitest'
import { POOL } from '../support/lab.ts'
import { openRaw } from '../support/raw-client.ts'
import { call, expectError, post } from './calls.ts'
import { keyFile } from './key-file.ts'
import { openEvents, postForEvents } from './sse-client.ts'
import { test } from './stage.ts'

const KEY = 'k'.repeat(32)
const OTHER = 'o'.repeat(32)
const JOB = { pool: POOL, inputs: 'x' }
const bearer = (key: string) => ({ Authorization: `Bearer ${key}` })

const ask = (path: string) => `GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`

describe('a connection that asks for many streams', () => {
  test('has one of them at a time, and others have theirs', async ({ lab, gateway }) => {
    const client = await lab.client()
    const gate = await gateway({ maxStreams: 2, heartbeatMs: 100 })
    const { job_id: id } = await client.enqueue({ inputs: 'x' })
    const many = openRaw(gate.port, ask(`/v1/jobs/${id}/events`).repeat(12_000))
    await expect.poll(() => many.text).toContain('event: queued')
    const other = await openEvents(`${gate.url}/v1/jobs/${id}/events`)
    expect(other.status).toBe(200)
    expect(gate.streams).toBe(2)
    expect(many.statuses).toEqual([200])
    many.socket.destroy()
    await expect.poll(() => gate.streams).toBe(1)
    other.leave()
  })

  test('has each when the one before it is over, and then what else it asked for', async ({
    lab,
    gateway,
  }) => {
    const client = await lab.client()
    const { port } = await gateway()
    const { job_id: first } = await client.enqueue({ inputs: 'x' })
    const { job_id: second } = await client.enqueue({ inputs: 'x' })
    const body = JSON.stringify(JOB)
    const many = openRaw(
      port,
      ask(`/v1/jobs/${first}/events`) +
        ask(`/v1/jobs/${second}/events`).repeat(50) +
        `POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}` +
        ask(`/v1/jobs/${first}`),
    )
    await expect.poll(() => many.text).toContain('event: queued')
    expect((await client.waiting()).interactive).toBe(2)
    await client.cancel(first)
    await expect.poll(() => many.statuses).toEqual([200, 200])
    await client.cancel(second)
    await expect.poll(() => many.statuses.length).toBe(53)
    expect(many.statuses).toEqual([...Array.from({ length: 51 }, () => 200), 202, 200])
    expect([...many.text.matchAll(/event: error/g)]).toHaveLength(51)
    expect((await client.waiting()).interactive).toBe(1)
  })
})

test('a gateway that stops ends the stream and one more request of a connection', async ({
  lab,
  gateway,
}) => {
  const client = await lab.client()
  const gate = await gateway()
  const { job_id: id } = await client.enqueue({ inputs: 'x' })
  const many = openRaw(gate.port, ask(`/v1/jobs/${id}/events`).repeat(1000))
  await expect.poll(() => many.text).toContain('event: queued')
  const stopped = gate.stop(60_000)
  const text = await many.closed
  await stopped
  expect(many.statuses).toEqual([200, 503])
  expect(text).toContain(': this gateway is stopping')
})

describe('a caller', () => {
  test('with a key has no more streams than one caller may, and leaves room for others', async ({
    lab,
    gateway,
  }) => {
    const client = await lab.client()
    const gate = await gateway({ maxStreams: 4, bearerFile: await keyFile(KEY, OTHER) })
    const { job_id: id } = await client.enqueue({ inputs: 'x' })
    const events = `${gate.url}/v1/jobs/${id}/events`
    const first = await openEvents(events, bearer(KEY))
    const second = await postForEvents(`${gate.url}/v1/jobs`, JOB, bearer(KEY))
    const types = { Accept: 'text/event-stream', ...bearer(KEY) }
    for (const refused of [
      await call(events, { headers: bearer(KEY) }),
      await post(`${gate.url}/v1/jobs`, JOB, types),
    ]) {
      expectError(refused, 429, 'TOO_MANY_STREAMS')
      expect(refused.headers['retry-after']).toBe('1')
    }
    expect((await client.waiting()).interactive).toBe(2)
    const others = [await openEvents(events, bearer(OTHER)), await openEvents(events, bearer(OTHER))]
    expect(others.map(({ status }) => status)).toEqual([200, 200])
    first.leave()
    await expect.poll(() => gate.streams).toBe(3)
    const third = await openEvents(events, bearer(KEY))
    expect(third.status).toBe(200)
    for (const stream of [second, third, ...others]) stream.leave()
    await expect.poll(() => gate.streams).toBe(0)
  })

  test('is a name: its keys share a bound, and of one that is revoked only its own streams end', async ({
    lab,
    gateway,
  }) => {
    const client = await lab.client()
    const file = await keyFile(`app ${KEY}`, `app ${OTHER}`)
    const gate = await gateway({ maxStreamsPerCaller: 2, bearerFile: file })
    const { job_id: id } = await client.enqueue({ inputs: 'x' })
    const events = `${gate.url}/v1/jobs/${id}/events`
    const old = await openEvents(events, bearer(KEY))
    const successor = await openEvents(events, bearer(OTHER))
    for (const key of [KEY, OTHER])
      expectError(await call(events, { headers: bearer(key) }), 429, 'TOO_MANY_STREAMS')
    await writeFile(file, `app ${OTHER}`)
    expect(await old.ended).toBe(true)
    expect(old.comments.at(-1)).toContain('revoked')
    await expect.poll(() => gate.streams).toBe(1)
    const more = await openEvents(events, bearer(OTHER))
    expect(more.status).toBe(200)
    for (const stream of [successor, more]) stream.leave()
    await expect.poll(() => gate.streams).toBe(0)
  })

  test('is an address where there are no keys', async ({ lab, gateway }) => {
    const client = await lab.client()
    const gate = await gateway({ maxStreamsPerCaller: 1 })
    const { job_id: id } = await client.enqueue({ inputs: 'x' })
    const events = `${gate.url}/v1/jobs/${id}/events`
    const first = await openEvents(events)
    expectError(await call(events), 429, 'TOO_MANY_STREAMS')
    first.leave()
  })
})

describe('a bearer key that is revoked', () => {
  test('ends its streams, however they were asked for, and no others', async ({ lab, gateway }) => {
    const client = await lab.client()
    const file = await keyFile(KEY, OTHER)
    const gate = await gateway({ bearerFile: file })
    const { job_id: id } = await client.enqueue({ inputs: 'x' })
    const events = `${gate.url}/v1/jobs/${id}/events`
    const gone = [
      await openEvents(events, bearer(KEY)),
      await postForEvents(`${gate.url}/v1/jobs`, JOB, bearer(KEY)),
    ]
    const stays = await openEvents(events, bearer(OTHER))
    const kept = openRaw(
      gate.port,
      `GET /v1/jobs/${id}/events HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${KEY}\r\n\r\n`.repeat(2),
    )
    await expect.poll(() => gate.streams).toBe(4)
    await writeFile(file, OTHER)
    expect(await Promise.all(gone.map(({ ended }) => ended))).toEqual([true, true])
    for (const { comments } of gone) expect(comments.at(-1)).toContain('revoked')
    await expect.poll(() => kept.statuses).toEqual([200, 401])
    expect(gate.streams).toBe(1)
    await client.cancel(id)
    expect(await stays.ended).toBe(true)
    expect(stays.events.at(-1)).toMatchObject({ event: 'error', data: { code: 'CANCELLED' } })
    expect(JSON.stringify(gate.lines)).not.toContain(KEY.slice(1))
  })

  test('takes no job whose body comes after that', async ({ lab, gateway }) => {
    const client = await lab.client()
    const file = await keyFile(KEY, OTHER)
    const gate = await gateway({ bearerFile: file })
    const body = JSON.stringify(JOB)
    const late = openRaw(
      gate.port,
      `POST /v1/jobs HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer ${KEY}\r\nAccept: text/event-stream\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n{`,
    )
    await expect.poll(() => gate.streams).toBe(1)
    await writeFile(file, OTHER)
    await gate.reloadKeys()
    late.send(body.slice(1))
    await expect.poll(() => late.statuses).toEqual([401])
    expect((await client.waiting()).interactive).toBe(0)
  })

  test('ends them when the file has no key left, and keeps those that come again out', async ({
    lab,
    gateway,
  }) => {
    const client = await lab.client()
    const file = await keyFile(KEY)
    const gate = await gateway({ bearerFile: file })
    const { job_id: id } = await client.enqueue({ inputs: 'x' })
    const stream = await openEvents(`${gate.url}/v1/jobs/${id}/events`, bearer(KEY))
    await rm(file)
    expect(await stream.ended).toBe(true)
    expectError(await call(`${gate.url}/v1/pools`, { headers: bearer(KEY) }), 401, 'UNAUTHORIZED')
    expect((await call(`${gate.url}/livez`)).status).toBe(200)
  })
})

import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { describe, expect, test as plainTest } from 'vitest'
import { MAX_WAIT_S, readWaitTime } from '../../src/gateway/wait-time.ts'
import { POOL } from '../support/lab.ts'
import { call, expectError, post } from './calls.ts'
import { keyFile } from './key-file.ts'
import { openEvents, postForEvents } from './sse-client.ts'
import { test } from './stage.ts'

const JOB = { pool: POOL, inputs: 'Why is the sky blue?', parameters: { max_new_tokens: 12 } }
/** Longer than any test may take: who gets an answer got it for another reason. */
const LONG = '?wait=60'

describe('POST /v1/jobs that waits', () => {
  test('answers with the state of the job when it is over: with its text, and where its events are', async ({
    lab,
    gateway,
  }) => {
    await lab.client()
    await lab.worker(await lab.replica())
    const { url } = await gateway()
    const answer = await post(`${url}/v1/jobs${LONG}`, JOB)
    const id = String(answer.json['job_id'])
    const state = (await call(`${url}/v1/jobs/${id}`)).json
    expect([answer.status, answer.json]).toEqual([
      200,
      { ...state, pool: POOL, events: `/v1/jobs/${id}/events?pool=${POOL}` },
    ])
    expect(state).toMatchObject({ state: 'ended', tokens_out: 12, end: { text: expect.stringMatching(/./) } })
    expect(answer.headers.location).toBe(`/v1/jobs/${id}?pool=${POOL}`)
    expect(answer.headers['preference-applied']).toBeUndefined()
  })

  test('takes the wait from Prefer, too, and says so; the query wins', async ({ lab, gateway }) => {
    await lab.client()
    await lab.worker(await lab.replica())
    const { url } = await gateway()
    const prefer = { Prefer: 'respond-async, wait=60' }
    const preferred = await post(`${url}/v1/jobs`, JOB, prefer)
    expect([preferred.status, preferred.headers['preference-applied']]).toEqual([200, 'wait=60'])
    const both = await post(`${url}/v1/jobs?wait=0`, JOB, prefer)
    expect([both.status, both.headers['preference-applied']]).toEqual([202, undefined])
  })

  test('answers as without a wait when the job is not over in time', async ({ lab, gateway }) => {
    const client = await lab.client()
    const { url } = await gateway()
    const headers = { 'Idempotency-Key': 'mine' }
    const first = await post(`${url}/v1/jobs`, JOB, headers)
    for (const path of ['?wait=0', '?wait=1']) {
      const answer = await post(`${url}/v1/jobs${path}`, JOB, headers)
      expect([answer.status, answer.json]).toEqual([202, { ...first.json, existing: true }])
    }
    const lowered = await post(`${url}/v1/jobs`, JOB, { ...headers, Prefer: 'wait=0' })
    expect([lowered.status, lowered.headers['preference-applied']]).toEqual([202, 'wait=0'])
    expect((await client.waiting()).interactive).toBe(1)
  })

  test('answers 200 for a job that ends in an error: state and error say which', async ({ lab, gateway }) => {
    const client = await lab.client()
    const gate = await gateway()
    const waiting = post(`${gate.url}/v1/jobs${LONG}`, { ...JOB, job_id: 'mine' })
    await expect.poll(() => client.has('mine')).toBe(true)
    await client.cancel('mine', { reason: 'seen enough' })
    const answer = await waiting
    expect([answer.status, answer.json]).toMatchObject([
      200,
      { job_id: 'mine', state: 'cancelled', error: { code: 'CANCELLED' }, pool: POOL },
    ])
    expect(answer.json).not.toHaveProperty('end')
  })

  test('waits for the job that there is when the request is repeated', async ({ lab, gateway }) => {
    const client = await lab.client()
    const gate = await gateway()
    const headers = { 'Idempotency-Key': 'mine' }
    const answers = [
      post(`${gate.url}/v1/jobs${LONG}`, JOB, headers),
      post(`${gate.url}/v1/jobs${LONG}`, JOB, headers),
    ]
    await expect.poll(() => gate.streams).toBe(2)
    await expect.poll(() => client.has('mine')).toBe(true)
    await lab.worker(await lab.replica())
    const [one, other] = await Promise.all(answers)
    expect(one).toMatchObject({ status: 200, json: { job_id: 'mine', state: 'ended' } })
    expect(other?.json).toEqual(one?.json)
    // One that is over needs no wait.
    const late = await post(`${gate.url}/v1/jobs?wait=0`, JOB, headers)
    expect([late.status, late.json]).toEqual([200, one?.json])
  })

  test('reads a job that has ended once for all who wait for it', async ({ lab, gateway }) => {
    const client = await lab.client()
    const gate = await gateway()
    /** A read of a job begins with the settings of its pool. */
    const reads = async () => {
      const stats = await lab.redis.info('commandstats')
      return Number(/^cmdstat_hgetall:calls=(\d+)/m.exec(stats)?.[1] ?? 0)
    }
    const first = await reads()
    const body = { ...JOB, job_id: 'mine' }
    const answers = Array.from({ length: 100 }, () => post(`${gate.url}/v1/jobs${LONG}`, body))
    // Each is accepted and, but for the first, looks at the job before it waits.
    await expect.poll(reads).toBeGreaterThanOrEqual(first + 199)
    const before = await reads()
    await client.cancel('mine')
    const statuses = (await Promise.all(answers)).map(({ status }) => status)
    expect(statuses).toEqual(Array.from({ length: 100 }, () => 200))
    // Sweeps read the settings, too.
    expect((await reads()) - before).toBeLessThan(50)
  })

  test('is left without a cancel, and leaves its place', async ({ lab, gateway }) => {
    const client = await lab.client()
    const gate = await gateway()
    const body = JSON.stringify({ ...JOB, job_id: 'mine' })
    const left = request(`${gate.url}/v1/jobs${LONG}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json', 'Content-Length': body.length },
      agent: false,
    })
    left.on('error', () => undefined).end(body)
    await expect.poll(() => client.has('mine')).toBe(true)
    expect(gate.streams).toBe(1)
    left.destroy()
    await expect.poll(() => gate.streams).toBe(0)
    expect((await client.job('mine')).state).toBe('queued')
    await expect
      .poll(() => gate.lines)
      .toContainEqual(expect.objectContaining({ msg: 'request answered', cut: true }))
    expect(gate.lines.filter((line) => Number(line['level']) > 40)).toEqual([])
  })

  test('counts among the streams; where there is no room for it the job is accepted without a wait', async ({
    lab,
    gateway,
  }) => {
    const client = await lab.client()
    const gate = await gateway({ maxStreams: 1 })
    const waiting = post(`${gate.url}/v1/jobs${LONG}`, { ...JOB, job_id: 'mine' })
    await expect.poll(() => client.has('mine')).toBe(true)
    expectError(await call(`${gate.url}/v1/jobs/mine/events`), 503, 'OVERLOADED')
    const other = await post(`${gate.url}/v1/jobs`, JOB, { Prefer: 'wait=60' })
    expect([other.status, other.headers['preference-applied']]).toEqual([202, undefined])
    await client.cancel('mine')
    expect((await waiting).status).toBe(200)
    expect(gate.streams).toBe(0)
    const events = await openEvents(`${gate.url}/v1/jobs/mine/events`)
    expect(events.status).toBe(200)
    await events.ended
  })

  test('takes no connection to Redis of its own', async ({ lab, gateway }) => {
    const client = await lab.client()
    const gate = await gateway()
    const connections = async () =>
      String(await lab.redis.call('CLIENT', 'LIST'))
        .trim()
        .split('\n').length
    const wait = (id: string) => post(`${gate.url}/v1/jobs${LONG}`, { ...JOB, job_id: id })
    const answers = [wait('mine-0')]
    await expect.poll(() => client.has('mine-0')).toBe(true)
    await post(`${gate.url}/v1/jobs`, JOB)
    const before = await connections()
    for (let index = 1; index < 20; index += 1) answers.push(wait(`mine-${index}`))
    await expect.poll(async () => (await client.waiting()).interactive).toBe(21)
    expect(await connections()).toBeLessThanOrEqual(before)
    for (let index = 0; index < 20; index += 1) await client.cancel(`mine-${index}`)
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual(
      Array.from({ length: 20 }, () => 200),
    )
  })

  test('is answered 202 at once when the gateway stops', async ({ lab, gateway }) => {
    const client = await lab.client()
    const gate = await gateway()
    const waiting = post(`${gate.url}/v1/jobs${LONG}`, { ...JOB, job_id: 'mine' })
    await expect.poll(() => client.has('mine')).toBe(true)
    await gate.stop(60_000)
    expect(await waiting).toMatchObject({ status: 202, json: { job_id: 'mine', existing: false } })
    expect((await client.job('mine')).state).toBe('queued')
  })

  test('is answered 202, without the text, when its key is revoked', async ({ lab, gateway }) => {
    const client = await lab.client()
    const file = await keyFile('k'.repeat(32))
    const gate = await gateway({ bearerFile: file })
    const headers = { Authorization: `Bearer ${'k'.repeat(32)}` }
    const waiting = post(`${gate.url}/v1/jobs${LONG}`, { ...JOB, job_id: 'mine' }, headers)
    await expect.poll(() => client.has('mine')).toBe(true)
    await writeFile(file, 'o'.repeat(32))
    expect((await waiting).status).toBe(202)
  })

  test.for(['', LONG, '/mine/cancel'])(
    'is refused, as every other POST (%j), when its key is revoked before its body is complete',
    async (path, { lab, gateway }) => {
      const client = await lab.client()
      await client.enqueue({ inputs: 'x' }, { jobId: 'mine' })
      const file = await keyFile('k'.repeat(32))
      const gate = await gateway({ bearerFile: file })
      const body = JSON.stringify(path.endsWith('cancel') ? { reason: 'x' } : { ...JOB, job_id: 'other' })
      const headers = {
        Authorization: `Bearer ${'k'.repeat(32)}`,
        'Content-Type': 'application/json',
        'Content-Length': body.length,
        Expect: '100-continue',
      }
      const sent = request(`${gate.url}/v1/jobs${path}`, { method: 'POST', headers, agent: false })
      sent.flushHeaders()
      // Its key is checked before that.
      await once(sent, 'continue')
      await writeFile(file, 'o'.repeat(32))
      await gate.reloadKeys()
      sent.end(body)
      const [answer] = (await once(sent, 'response')) as [IncomingMessage]
      expect(answer.statusCode).toBe(401)
      answer.resume()
      expect(await client.has('other')).toBe(false)
      expect((await client.job('mine')).state).toBe('queued')
    },
  )

  test('is told when the job is erased: that it was cancelled first, or that there is none', async ({
    lab,
    gateway,
  }) => {
    const client = await lab.client()
    const gate = await gateway()
    const waiting = post(`${gate.url}/v1/jobs${LONG}`, { ...JOB, job_id: 'mine' })
    await expect.poll(() => client.has('mine')).toBe(true)
    await client.forget('mine')
    const answer = await waiting
    if (answer.status === 200) expect(answer.json).toMatchObject({ state: 'cancelled' })
    else expectError(answer, 404, 'UNKNOWN_JOB')
  })

  test('sends the events that Accept asks for, and no wait', async ({ lab, gateway }) => {
    await lab.client()
    await lab.worker(await lab.replica())
    const { url } = await gateway()
    const answer = await postForEvents(`${url}/v1/jobs?wait=0`, JOB, { Prefer: 'wait=0' })
    await answer.ended
    expect([answer.status, answer.events.at(-1)?.event]).toEqual([200, 'end'])
    expect(answer.headers['preference-applied']).toBeUndefined()
  })

  test.for(['61', '600', '-1', '1.5', '1e1', 'abc', '', ' 1', '0x1', '007'])(
    'is refused with wait=%j, and no job is taken',
    async (wait, { lab, gateway }) => {
      const client = await lab.client()
      const { url } = await gateway()
      for (const headers of [{}, { Accept: 'text/event-stream' }, { Prefer: 'wait=1' }]) {
        const answer = await post(`${url}/v1/jobs?wait=${encodeURIComponent(wait)}`, JOB, headers)
        expect(expectError(answer, 400, 'INVALID_PARAMS')['message']).toBe(
          `wait: expected whole seconds from 0 to 60, got ${JSON.stringify(wait)}`,
        )
      }
      expect((await client.waiting()).interactive).toBe(0)
    },
  )
})

describe('Prefer', () => {
  plainTest.for([
    ['wait=7', 7],
    ['WAIT = 7', 7],
    ['wait="7"', 7],
    ['respond-async, wait=7; foo=bar', 7],
    ['a="x, wait=3", wait=7', 7],
    [String.raw`a="\", wait=3", wait=7`, 7],
    ['wait=7, wait=8', 7],
    ['wait=0007', 7],
    ['wait=61', MAX_WAIT_S],
    [`wait=${'9'.repeat(400)}`, MAX_WAIT_S],
  ] as const)('%s is a wait of %i s', ([prefer, seconds]) => {
    expect(readWaitTime(undefined, prefer)).toEqual({ seconds, applied: `wait=${seconds}` })
  })

  plainTest.for([
    '',
    'wait',
    'wait=',
    'wait=x, wait=7',
    'wait=-1',
    'wait=1.5',
    'waiter=7',
    'x-wait=7',
    'a="wait=7',
    'return=minimal',
  ])('%j is none', (prefer) => {
    expect(readWaitTime(undefined, prefer)).toBeUndefined()
  })
})

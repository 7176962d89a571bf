import { describe, expect } from 'vitest'
import { SEAL_ID } from '../../src/contract/stream-id.ts'
import { readLog, tokensIn } from '../support/job-log.ts'
import { KEYS, POOL } from '../support/lab.ts'
import { createManualClock } from '../support/manual-clock.ts'
import { expectError, post } from './calls.ts'
import { postForEvents, readAll } from './sse-client.ts'
import { test } from './stage.ts'

const JOB = { pool: POOL, inputs: 'Why is the sky blue?', parameters: { max_new_tokens: 20 } }
const EVENTS = { Accept: 'text/event-stream' }

describe('POST /v1/jobs that asks for an event stream', () => {
  test('answers with the events of the job, from the first to the last, and with its id', async ({
    lab,
    gateway,
  }) => {
    await lab.client()
    await lab.worker(await lab.replica())
    const { url } = await gateway()
    const answer = await postForEvents(`${url}/v1/jobs`, JOB)
    const id = String(answer.headers['x-job-id'])
    expect([answer.status, answer.headers]).toMatchObject([
      200,
      { 'content-type': 'text/event-stream; charset=utf-8', location: `/v1/jobs/${id}?pool=${POOL}` },
    ])
    expect(await answer.ended).toBe(true)
    expect(answer.events).toEqual(await readLog(lab.redis, KEYS, id))
    expect(answer.events.at(-1)?.event).toBe('end')
    expect(await readAll(`${url}/v1/jobs/${id}/events`)).toEqual(answer.events)
  })

  test('goes on where it broke off when the same request comes again with the last id', async ({
    lab,
    gateway,
  }) => {
    await lab.client()
    await lab.worker(await lab.replica())
    const { url } = await gateway()
    const key = { 'Idempotency-Key': 'mine' }
    const first = await postForEvents(`${url}/v1/jobs`, JOB, key)
    await first.ended
    const at = first.events[7]?.id ?? ''
    const second = await postForEvents(`${url}/v1/jobs`, JOB, { ...key, 'Last-Event-ID': at })
    await second.ended
    expect(second.events).toEqual(first.events.slice(8))
    const third = await postForEvents(`${url}/v1/jobs`, JOB, { ...key, 'Last-Event-ID': SEAL_ID })
    expect(third.status).toBe(204)
  })

  test.for([
    ['text/event-stream', 200],
    ['text/event-stream;q=0.9, application/json;q=0.5', 200],
    ['text/event-stream, application/json', 200],
    ['application/json, text/event-stream', 202],
    ['text/event-stream;q=0', 202],
    ['text/*', 200],
    ['*/*', 202],
    ['text/html', 202],
  ] as const)('Accept: %s is answered with %i', async ([accept, status], { lab, gateway }) => {
    const client = await lab.client()
    const { url } = await gateway()
    const answer = await postForEvents(`${url}/v1/jobs`, JOB, { Accept: accept })
    expect(answer.status).toBe(status)
    answer.leave()
    expect((await client.waiting()).interactive).toBe(1)
  })

  test('says in the envelope why a job is not taken', async ({ lab, gateway }) => {
    await lab.client()
    const { url } = await gateway()
    const key = { ...EVENTS, 'Idempotency-Key': 'mine' }
    expectError(await post(`${url}/v1/jobs`, JOB, { 'Last-Event-ID': '000' }), 400, 'INVALID_PARAMS')
    expectError(await post(`${url}/v1/jobs`, { ...JOB, inputs: 7 }, EVENTS), 400, 'INVALID_PARAMS')
    expectError(await post(`${url}/v1/jobs`, JOB, { ...EVENTS, 'Last-Event-ID': 'x' }), 400, 'INVALID_PARAMS')
    expectError(await post(`${url}/v1/jobs`, { ...JOB, pool: 'other' }, EVENTS), 404, 'POOL_UNAVAILABLE')
    await post(`${url}/v1/jobs`, JOB, key)
    expectError(await post(`${url}/v1/jobs`, { ...JOB, inputs: 'Another' }, key), 409, 'ID_CONFLICT')
  })

  test('takes no job that it has no room to stream', async ({ lab, gateway }) => {
    const client = await lab.client()
    const { url } = await gateway({ maxStreams: 1 })
    const first = await postForEvents(`${url}/v1/jobs`, JOB)
    expectError(await post(`${url}/v1/jobs`, JOB, EVENTS), 503, 'OVERLOADED')
    expect((await client.waiting()).interactive).toBe(1)
    first.leave()
  })

  test('is left without a cancel: the job goes on', async ({ lab, gateway }) => {
    const client = await lab.client()
    const clock = createManualClock()
    await lab.worker(await lab.replica({ clock, tokensPerSecond: 100 }))
    const gate = await gateway()
    const job = { ...JOB, parameters: { max_new_tokens: 60 } }
    const answer = await postForEvents(`${gate.url}/v1/jobs`, job)
    const id = String(answer.headers['x-job-id'])
    await tokensIn(lab.redis, KEYS, id)
    answer.leave()
    await expect.poll(() => gate.streams).toBe(0)
    clock.run()
    await expect.poll(async () => (await client.job(id)).state).toBe('ended')
  })
})

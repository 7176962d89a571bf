import { createHash, createHmac } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished } from 'vitest'
import { publishReplica } from '../../src/replica/registry.ts'
import { endOf, collect } from '../support/job-log.ts'
import { KEYS, POOL } from '../support/lab.ts'
import { call, expectError, post } from './calls.ts'
import { test } from './stage.ts'

const JOB = { pool: POOL, inputs: 'Why is the sky blue?', parameters: { max_new_tokens: 3 } }

/** The id of a job that is put in under a bearer key and an Idempotency-Key. */
async function idFor(url: string, key: string, idempotencyKey: string): Promise<unknown> {
  const headers = { 'Idempotency-Key': idempotencyKey, Authorization: `Bearer ${key}` }
  return (await post(`${url}/v1/jobs`, JOB, headers)).json['job_id']
}

describe('POST /v1/jobs', () => {
  test('accepts a job and says where it stands and where its events are', async ({ lab, gateway }) => {
    const client = await lab.client()
    const { url } = await gateway()
    const answer = await post(`${url}/v1/jobs`, JOB)
    const id = String(answer.json['job_id'])
    expect([answer.status, answer.json]).toEqual([
      202,
      {
        job_id: expect.stringMatching(/^[0-9a-f-]{36}$/),
        pool: POOL,
        queue_position: 0,
        existing: false,
        events: `/v1/jobs/${id}/events?pool=${POOL}`,
      },
    ])
    expect(answer.headers['location']).toBe(`/v1/jobs/${id}?pool=${POOL}`)
    expect(await client.job(id)).toMatchObject({ state: 'queued' })
  })

  test('tells when a job will start, once the pace of the pool is known', async ({ lab, gateway }) => {
    await lab.client()
    const worker = await lab.worker(await lab.replica())
    await expect.poll(() => worker.state).toBe('ready')
    const { url } = await gateway()
    expect((await post(`${url}/v1/jobs`, JOB)).json).toMatchObject({ predicted_start_ms: 0 })
  })

  test('takes the id from the body, or from Idempotency-Key, quoted or not', async ({ lab, gateway }) => {
    await lab.client()
    const { url } = await gateway()
    const ids = [
      await post(`${url}/v1/jobs`, { ...JOB, job_id: 'mine-1' }),
      await post(`${url}/v1/jobs`, JOB, { 'Idempotency-Key': 'mine-2' }),
      await post(`${url}/v1/jobs`, JOB, { 'Idempotency-Key': '"mine-3"' }),
      await post(`${url}/v1/jobs`, { ...JOB, job_id: 'mine-4' }, { 'Idempotency-Key': 'mine-4' }),
    ].map(({ json }) => json['job_id'])
    expect(ids).toEqual(['mine-1', 'mine-2', 'mine-3', 'mine-4'])
  })

  test('derives the id from a key that is no job id, as the API says', async ({ lab, gateway }) => {
    await lab.client()
    const { url } = await gateway()
    const { json } = await post(`${url}/v1/jobs`, JOB, { 'Idempotency-Key': '12345' })
    const hash = createHash('sha256').update(`${POOL}\n12345`).digest('hex')
    expect(json['job_id']).toBe(`key-${hash}`)
  })

  test('derives another id for each bearer key, the same on every gateway', async ({ lab, gateway }) => {
    await lab.client()
    const dir = await mkdtemp(join(tmpdir(), 'tgi-pool-keys-'))
    onTestFinished(() => rm(dir, { recursive: true }))
    const bearerFile = join(dir, 'keys')
    const keys = ['a-bearer-key-of-one', 'a-bearer-key-of-two']
    await writeFile(bearerFile, keys.join('\n'))
    const gates = [await gateway({ bearerFile }), await gateway({ bearerFile })]
    const ids = await Promise.all(
      keys.map((key) => Promise.all(gates.map(({ url }) => idFor(url, key, '12345')))),
    )
    const expected = keys.map((key) => {
      const secret = createHash('sha256').update(key).digest()
      return `key-${createHmac('sha256', secret).update(`${POOL}\n12345`).digest('hex')}`
    })
    expect(ids).toEqual(expected.map((id) => [id, id]))
    expect(await idFor(gates[0]?.url ?? '', keys[0] ?? '', 'mine')).toBe('mine')
  })

  test('answers the same job again under its key, whatever the correlation id', async ({ lab, gateway }) => {
    const client = await lab.client()
    const { url } = await gateway()
    const headers = { 'Idempotency-Key': 'again' }
    const first = await post(`${url}/v1/jobs`, JOB, { ...headers, 'X-Correlation-Id': 'a' })
    const second = await post(`${url}/v1/jobs`, JOB, { ...headers, 'X-Correlation-Id': 'b' })
    expect([first.status, second.status]).toEqual([202, 202])
    expect(second.json).toEqual({ ...first.json, existing: true })
    const kept: unknown = JSON.parse((await lab.redis.hget(`${KEYS.queuePrefix}:jobs:again`, 'data')) ?? '{}')
    expect(kept).toMatchObject({ correlation_id: 'a' })
    expect(await client.waiting()).toMatchObject({ interactive: 1 })
    const other = await post(`${url}/v1/jobs`, { ...JOB, inputs: 'Another' }, headers)
    expectError(other, 409, 'ID_CONFLICT')
  })

  test.for([
    ['an id and a key that differ', { ...JOB, job_id: 'a' }, { 'Idempotency-Key': 'b' }, 'Idempotency-Key'],
    ['an empty key', JOB, { 'Idempotency-Key': '""' }, 'Idempotency-Key'],
    ['no pool', { inputs: 'x' }, {}, 'pool'],
    ['a pool that is no name', { ...JOB, pool: 'A b' }, {}, 'pool'],
    ['an unknown field', { ...JOB, inpust: 'x' }, {}, '"inpust"'],
    ['a wrong parameter', { ...JOB, parameters: { max_new_tokens: 0 } }, {}, 'parameters.max_new_tokens'],
    ['no prompt', { pool: POOL }, {}, 'inputs or messages'],
    ['a number', 7, {}, 'object'],
    ['a bad correlation id', JOB, { 'X-Correlation-Id': 'a b' }, 'X-Correlation-Id'],
  ] as const)('refuses %s', async ([, body, headers, said], { lab, gateway }) => {
    await lab.client()
    const { url } = await gateway()
    const { message } = expectError(await post(`${url}/v1/jobs`, body, headers), 400, 'INVALID_PARAMS')
    expect(message).toContain(said)
  })

  test.for([
    ['{"pool":"lab","inputs":"secret words"', 'ends too early'],
    ['{"pool":"lab", inputs:"secret words"}', 'at character 16 of '],
    ['{"pool":"lab","inputs":"secret\nwords"}', 'at character 24 of '],
    ['{} secret', 'at character 4 of '],
    [Buffer.from([0x22, 0xff, 0x22]), 'UTF-8'],
    ['', 'got nothing'],
    ['['.repeat(100_000) + ']'.repeat(100_000), 'deep'],
  ] as const)(
    'says where a body stops being JSON, never what it says: %#',
    async ([body, said], { gateway }) => {
      const { url, lines } = await gateway()
      const headers = { 'Content-Type': 'application/json' }
      const answer = await call(`${url}/v1/jobs`, { method: 'POST', headers, body })
      expect(expectError(answer, 400, 'INVALID_PARAMS')['message']).toContain(said)
      expect(answer.text + JSON.stringify(lines)).not.toContain('secret')
    },
  )

  test('takes a job of 2 MB, and refuses a body above the bound however it comes', async ({
    lab,
    gateway,
  }) => {
    await lab.client({ max_input_bytes: 2_000_000 })
    const { url } = await gateway()
    const large = await post(`${url}/v1/jobs`, { ...JOB, inputs: 'x'.repeat(2_000_000) })
    expect(large.status).toBe(202)
    const headers = { 'Content-Type': 'application/json' }
    const body = JSON.stringify({ ...JOB, inputs: 'x'.repeat(2_700_000) })
    expectError(await call(`${url}/v1/jobs`, { method: 'POST', headers, body }), 413, 'TOO_LARGE')
    const streamed = await fetch(`${url}/v1/jobs`, {
      method: 'POST',
      headers,
      body: new Blob([body]).stream(),
      duplex: 'half',
    })
    expect(streamed.status).toBe(413)
    await streamed.text()
  })

  test.for(['text/plain', '', 'application/json; charset=latin1', 'application/x-www-form-urlencoded'])(
    'refuses the content type %j',
    async (type, { gateway }) => {
      const { url } = await gateway()
      const headers = type === '' ? {} : { 'Content-Type': type }
      const answer = await call(`${url}/v1/jobs`, { method: 'POST', headers, body: JSON.stringify(JOB) })
      expectError(answer, 415, 'UNSUPPORTED_MEDIA_TYPE')
    },
  )

  test('refuses a body that is packed', async ({ gateway }) => {
    const { url } = await gateway()
    expectError(
      await post(`${url}/v1/jobs`, JOB, { 'Content-Encoding': 'gzip' }),
      415,
      'UNSUPPORTED_MEDIA_TYPE',
    )
  })

  test('says when to come again where the queue is full, or the pool is not there yet', async ({
    lab,
    gateway,
  }) => {
    await lab.client({ max_queued: 1 })
    const { url } = await gateway()
    await post(`${url}/v1/jobs`, JOB)
    const full = await post(`${url}/v1/jobs`, JOB)
    expect(expectError(full, 429, 'ADMISSION_REJECT')).toMatchObject({
      retriable: true,
      retry_after_ms: 1000,
    })
    expect(full.headers['retry-after']).toBe('1')
    const nowhere = await post(`${url}/v1/jobs`, { ...JOB, pool: 'nowhere' })
    expect(expectError(nowhere, 404, 'POOL_UNAVAILABLE')['message']).toContain('there are: lab')
  })

  test('says when to come again where a job would start after its deadline', async ({ lab, gateway }) => {
    await lab.client()
    const { url } = await gateway()
    // What a worker says whose slots are all in use for a day.
    await publishReplica(lab.redis, KEYS, {
      replica_id: 'full',
      worker_id: 'w',
      url: 'http://full',
      state: 'ready',
      versions: null,
      slots: 1,
      slots_configured: 1,
      busy: 1,
      job_ms: 3_600_000,
      job_count: 20,
      capabilities: [],
    })
    await lab.redis.set(KEYS.lease('full'), 'w')
    const late = await post(`${url}/v1/jobs`, JOB)
    expect(expectError(late, 429, 'DEADLINE_UNMET')).toMatchObject({
      retriable: true,
      retry_after_ms: 60_000,
    })
    expect(late.headers['retry-after']).toBe('60')
    const stream = await post(`${url}/v1/jobs`, JOB, { Accept: 'text/event-stream' })
    expectError(stream, 429, 'DEADLINE_UNMET')
    expect((await post(`${url}/v1/jobs`, { ...JOB, priority: 'batch' })).status).toBe(202)
  })

  test('names the request in the answer, the log and the job that has no id of its own', async ({
    lab,
    gateway,
  }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica())
    const { url, lines } = await gateway()
    const answer = await post(`${url}/v1/jobs`, JOB, { 'X-Correlation-Id': 'req-17' })
    expect(answer.headers['x-correlation-id']).toBe('req-17')
    const events = await collect(client, String(answer.json['job_id']))
    endOf(events)
    expect(events.find(({ event }) => event === 'started')?.data).toMatchObject({ correlation_id: 'req-17' })
    await expect
      .poll(() => lines.find((line) => line['correlation_id'] === 'req-17'))
      .toMatchObject({
        method: 'POST',
        route: '/v1/jobs',
        status: 202,
        job_id: answer.json['job_id'],
        pool_id: POOL,
        ms: expect.any(Number),
        bytes: expect.any(Number),
      })
    expect(JSON.stringify(lines)).not.toContain('sky')
  })
})

describe('the routes of one job', () => {
  test('tell its state, in its pool or wherever it is', async ({ lab, gateway }) => {
    const client = await lab.client()
    await lab.client({}, 'other')
    const { url } = await gateway()
    const { job_id: id } = await client.enqueue({ inputs: 'x' })
    for (const query of ['', `?pool=${POOL}`]) {
      const answer = await call(`${url}/v1/jobs/${id}${query}`)
      expect([answer.status, answer.json]).toEqual([200, await client.job(id)])
    }
    expectError(await call(`${url}/v1/jobs/${id}?pool=other`), 404, 'UNKNOWN_JOB')
    expectError(await call(`${url}/v1/jobs/nobody`), 404, 'UNKNOWN_JOB')
    expectError(await call(`${url}/v1/jobs/${id}?pool=nowhere`), 404, 'POOL_UNAVAILABLE')
    expectError(await call(`${url}/v1/jobs/123`), 400, 'INVALID_PARAMS')
    expectError(await call(`${url}/v1/jobs/${id}?pool=A%20b`), 400, 'INVALID_PARAMS')
    const head = await call(`${url}/v1/jobs/${id}`, { method: 'HEAD' })
    expect([head.status, head.text]).toEqual([200, ''])
  })

  test('ask for the pool where several have the id', async ({ lab, gateway }) => {
    for (const pool of ['one', 'two']) {
      await (await lab.client({}, pool)).enqueue({ inputs: 'x' }, { jobId: 'twice' })
    }
    const { url } = await gateway()
    expectError(await call(`${url}/v1/jobs/twice`), 409, 'ID_CONFLICT')
    expect((await call(`${url}/v1/jobs/twice?pool=two`)).status).toBe(200)
  })

  test('cancel it once, and say that it is over after that', async ({ lab, gateway }) => {
    const client = await lab.client()
    const { url } = await gateway()
    const { job_id: id } = await client.enqueue({ inputs: 'x' })
    const first = await post(`${url}/v1/jobs/${id}/cancel`, { reason: 'seen enough' })
    expect([first.status, first.json]).toEqual([200, { job_id: id, outcome: 'cancelled' }])
    const second = await call(`${url}/v1/jobs/${id}/cancel`, { method: 'POST' })
    expect([second.status, second.json]).toEqual([200, { job_id: id, outcome: 'already_over' }])
    expect((await client.job(id)).error).toMatchObject({
      code: 'CANCELLED',
      message: 'seen enough',
    })
    expectError(await call(`${url}/v1/jobs/nobody/cancel`, { method: 'POST' }), 404, 'UNKNOWN_JOB')
    expectError(await post(`${url}/v1/jobs/${id}/cancel`, { why: 1 }), 400, 'INVALID_PARAMS')
  })

  test('erase it', async ({ lab, gateway }) => {
    const client = await lab.client()
    const { url } = await gateway()
    const { job_id: id } = await client.enqueue({ inputs: 'x' })
    const answer = await call(`${url}/v1/jobs/${id}`, { method: 'DELETE' })
    expect([answer.status, answer.text]).toEqual([204, ''])
    expect(await client.has(id)).toBe(false)
    expectError(await call(`${url}/v1/jobs/${id}`, { method: 'DELETE' }), 404, 'UNKNOWN_JOB')
  })
})

describe('every other route', () => {
  test('tells the pools', async ({ lab, gateway }) => {
    const client = await lab.client({ max_queued: 7 })
    const { url } = await gateway()
    const answer = await call(`${url}/v1/pools`)
    expect([answer.status, answer.json]).toEqual([
      200,
      { pools: [{ pool_id: POOL, config: await client.config() }] },
    ])
  })

  test('makes no client for pools that are not there, whatever is asked for', async ({ lab, gateway }) => {
    await lab.client()
    const { url } = await gateway()
    const before = (await lab.redis.client('LIST')) as string
    for (let n = 0; n < 20; n += 1) {
      expect((await call(`${url}/v1/jobs/x?pool=guess-${n}`)).status).toBe(404)
    }
    const after = (await lab.redis.client('LIST')) as string
    expect(after.split('\n').length).toBe(before.split('\n').length)
  })

  test('says that it lives and is ready', async ({ gateway }) => {
    const { url } = await gateway()
    expect((await call(`${url}/livez`)).json).toEqual({ status: 'ok' })
    expect((await call(`${url}/readyz`)).json).toEqual({ status: 'ready' })
  })

  test('shows the API as a page that runs nothing and loads nothing', async ({ gateway }) => {
    const { url } = await gateway()
    const page = await call(`${url}/docs`)
    expect(page.headers['content-type']).toBe('text/html; charset=utf-8')
    expect(page.headers['content-security-policy']).toMatch(/^default-src 'none'; style-src 'sha256-/)
    expect(page.text).toContain('POST /v1/jobs')
    expect(page.text).not.toMatch(/<script|<link|<img|\ssrc=|href="https?:/)
    const style = /<style>([^]*)<\/style>/.exec(page.text)?.[1] ?? ''
    const hash = createHash('sha256').update(style).digest('base64')
    expect(page.headers['content-security-policy']).toContain(`'sha256-${hash}'`)
  })

  test.for([
    ['PUT', '/v1/jobs', 'GET, HEAD, POST, OPTIONS'],
    ['PATCH', '/v1/jobs/x', 'GET, HEAD, DELETE, OPTIONS'],
    ['POST', '/v1/jobs/x/events', 'GET, HEAD, OPTIONS'],
    ['TRACE', '/v1/pools', 'GET, HEAD, OPTIONS'],
    ['DELETE', '/livez', 'GET, HEAD, OPTIONS'],
  ] as const)('refuses %s %s and says what there is', async ([method, path, allow], { gateway }) => {
    const { url } = await gateway()
    const answer = await call(url + path, { method })
    expectError(answer, 405, 'METHOD_NOT_ALLOWED')
    expect(answer.headers['allow']).toBe(allow)
    const options = await call(url + path, { method: 'OPTIONS' })
    expect([options.status, options.headers['allow']]).toEqual([204, allow])
  })

  test('says of routes that are none that they are not there', async ({ gateway }) => {
    const { url } = await gateway()
    for (const path of ['/v1', '/v1/jobs/x/forget', '/LIVEZ']) {
      expectError(await call(url + path), 404, 'NOT_FOUND')
    }
  })

  test('tells nobody what serves it', async ({ gateway }) => {
    const { url } = await gateway()
    const { headers } = await call(`${url}/livez`)
    expect(Object.keys(headers).toSorted()).toEqual([
      'connection',
      'content-length',
      'content-type',
      'date',
      'x-content-type-options',
      'x-correlation-id',
    ])
  })
})

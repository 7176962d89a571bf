import { describe, expect, onTestFinished } from 'vitest'
import { openPool } from '../../src/client/pools.ts'
import type { PoolClient } from '../../src/client/pool-client.ts'
import { POOL } from '../support/lab.ts'
import { startOwnRedis } from '../support/own-redis.ts'
import { test } from '../support/redis.ts'
import { call, expectError, post } from './calls.ts'
import { openEvents } from './sse-client.ts'
import { openGateway } from './stage.ts'
import type { TestGateway } from './stage.ts'

const JOB = { pool: POOL, inputs: 'x' }
/** How long a call may take when Redis is away (ms): ten times the 500 ms that it gives Redis, and a little. */
const FAST_MS = 6000

async function withPool(url: string): Promise<{ gate: TestGateway; client: PoolClient }> {
  const gate = await openGateway(url, { redisTimeoutMs: 500 })
  onTestFinished(() => gate.stop())
  const client = await openPool({ redisUrl: url, pool: POOL })
  onTestFinished(() => client.close())
  await client.create()
  return { gate, client }
}

async function expectAway(url: string, id: string): Promise<void> {
  for (const [method, path] of [
    ['GET', `/v1/jobs/${id}`],
    ['GET', `/v1/jobs/${id}?pool=${POOL}`],
    ['GET', `/v1/jobs/${id}/events?pool=${POOL}`],
    ['GET', `/v1/jobs/${id}/events?pool=${POOL}&after=9007199254740991-1`],
    ['DELETE', `/v1/jobs/${id}?pool=${POOL}`],
    ['POST', `/v1/jobs/${id}/cancel`],
    ['GET', '/v1/pools'],
  ] as const) {
    const startedAt = performance.now()
    const answer = await call(url + path, { method })
    expect(expectError(answer, 503, 'REDIS_UNAVAILABLE')).toMatchObject({ retriable: true })
    expect(answer.headers['retry-after']).toBe('1')
    expect(answer.text).not.toContain('127.0.0.1')
    expect(performance.now() - startedAt).toBeLessThan(FAST_MS)
  }
  expectError(await post(`${url}/v1/jobs`, JOB), 503, 'REDIS_UNAVAILABLE')
  const ready = await call(`${url}/readyz`)
  expect([ready.status, ready.json]).toEqual([503, { status: 'not ready', reason: 'Redis does not answer' }])
  expect((await call(`${url}/livez`)).status).toBe(200)
}

describe('a gateway without its Redis', () => {
  test('does not start, and says where it looked, without the password', async () => {
    const fault = openGateway('redis://:hunter2@127.0.0.1:1')
    await expect(fault).rejects.toMatchObject({ kind: 'REDIS_UNAVAILABLE' })
    await expect(fault).rejects.not.toThrow('hunter2')
  })

  test('says so in a moment on every route while it is frozen, and goes on after', async () => {
    const { server } = await startOwnRedis()
    const { gate, client } = await withPool(server.url)
    const { job_id: id } = await client.enqueue({ inputs: 'x' })
    await expect.poll(async () => (await call(`${gate.url}/v1/jobs/${id}?pool=${POOL}`)).status).toBe(200)
    process.kill(server.pid, 'SIGSTOP')
    try {
      await expectAway(gate.url, id)
    } finally {
      process.kill(server.pid, 'SIGCONT')
    }
    await expect.poll(async () => (await call(`${gate.url}/v1/jobs/${id}`)).status).toBe(200)
  })

  test('says so while it is gone, and a stream that was open goes on when it is back', async () => {
    const { server, again } = await startOwnRedis()
    const { gate, client } = await withPool(server.url)
    const { job_id: id } = await client.enqueue({ inputs: 'x' })
    const stream = await openEvents(`${gate.url}/v1/jobs/${id}/events?pool=${POOL}`)
    await expect.poll(() => stream.events.length).toBe(1)
    await server.stop()
    await expectAway(gate.url, id)
    await again()
    await expect.poll(async () => (await call(`${gate.url}/readyz`)).status).toBe(200)
    await expect
      .poll(async () => (await call(`${gate.url}/v1/jobs/${id}/cancel`, { method: 'POST' })).status)
      .toBe(200)
    expect(await stream.ended).toBe(true)
    expect(stream.events.map(({ event }) => event)).toEqual(['queued', 'error'])
  })

  test('answers 202 to a request that waits for a job, which is accepted', async () => {
    const { server } = await startOwnRedis()
    const { gate, client } = await withPool(server.url)
    const waiting = post(`${gate.url}/v1/jobs?wait=2`, { ...JOB, job_id: 'mine' })
    await expect.poll(() => client.has('mine')).toBe(true)
    process.kill(server.pid, 'SIGSTOP')
    const answer = await waiting.finally(() => process.kill(server.pid, 'SIGCONT'))
    expect([answer.status, answer.json]).toMatchObject([202, { job_id: 'mine', existing: false }])
    expect((await client.job('mine')).state).toBe('queued')
  })
})

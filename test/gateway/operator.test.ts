import { describe, expect } from 'vitest'
import { POOL } from '../support/lab.ts'
import { call, expectError, post } from './calls.ts'
import { keyFile } from './key-file.ts'
import { test } from './stage.ts'

const USER = 'u'.repeat(32)
const OPERATOR = 'o'.repeat(32)
const as = (key: string) => ({ Authorization: `Bearer ${key}` })

describe('with bearer keys', () => {
  test.for([
    ['DELETE', ''],
    ['POST', '/replicas/r1/drain'],
    ['POST', '/replicas/r1/undrain'],
  ] as const)('%s /v1/pools/:pool%s needs the scope operate', async ([method, path], { lab, gateway }) => {
    const client = await lab.client()
    const { url } = await gateway({ bearerFile: await keyFile(`app ${USER}`, `ops+operate ${OPERATOR}`) })
    const target = `${url}/v1/pools/${POOL}${path}`
    expectError(await call(target, { method }), 401, 'UNAUTHORIZED')
    expectError(await call(target, { method, headers: as(USER) }), 403, 'INSUFFICIENT_SCOPE')
    expect(await client.config()).toBeDefined()
    const { status } = await call(target, { method, headers: as(OPERATOR) })
    expect(status).toBe(method === 'DELETE' ? 204 : 404)
  })
})

describe('a replica', () => {
  test('is drained and undrained', async ({ lab, gateway }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica())
    await expect.poll(() => client.replicas()).toMatchObject([{ state: 'ready' }])
    const id = (await client.replicas())[0]?.replica_id ?? ''
    const { url } = await gateway()
    const path = `${url}/v1/pools/${POOL}/replicas/${id}`
    const drained = await post(`${path}/drain`, { grace_ms: 5000 })
    expect(drained.json).toMatchObject({ replica_id: id, outcome: 'draining', grace_ms: 5000 })
    await expect.poll(() => client.replicas()).toMatchObject([{ state: 'draining' }])
    expect((await call(`${path}/drain`, { method: 'POST' })).json).toMatchObject({
      outcome: 'already_draining',
    })
    expect((await call(`${path}/undrain`, { method: 'POST' })).json).toEqual({
      replica_id: id,
      outcome: 'undrained',
    })
    await expect.poll(() => client.replicas()).toMatchObject([{ state: 'ready' }])
  })

  test('that is unknown, or a bad grace period, is an error', async ({ lab, gateway }) => {
    await lab.client()
    const { url } = await gateway()
    const path = `${url}/v1/pools/${POOL}/replicas/nobody`
    expectError(await post(`${path}/drain`, {}), 404, 'UNKNOWN_REPLICA')
    expectError(await call(`${path}/undrain`, { method: 'POST' }), 404, 'UNKNOWN_REPLICA')
    const negative = expectError(await post(`${path}/drain`, { grace_ms: -1 }), 400, 'INVALID_PARAMS')
    expect(negative['message']).toContain('grace_ms')
    const unknown = expectError(await post(`${path}/drain`, { graceMs: 1 }), 400, 'INVALID_PARAMS')
    expect(unknown['message']).toContain('use grace_ms')
  })
})

describe('a pool', () => {
  test('is deleted, and then there is none', async ({ lab, gateway }) => {
    const client = await lab.client()
    await client.enqueue({ inputs: 'hello' }, { jobId: 'j' })
    const { url } = await gateway()
    const target = `${url}/v1/pools/${POOL}`
    expect((await call(target, { method: 'DELETE' })).status).toBe(204)
    expect((await call(`${url}/v1/pools`)).json).toEqual({ pools: [] })
    expectError(await post(`${url}/v1/jobs`, { pool: POOL, inputs: 'x' }), 404, 'POOL_UNAVAILABLE')
    expectError(await call(`${url}/v1/pools/nowhere`, { method: 'DELETE' }), 404, 'POOL_UNAVAILABLE')
  })

  test('that a worker serves is not', async ({ lab, gateway }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica())
    await expect.poll(() => client.replicas()).toMatchObject([{ state: 'ready' }])
    const { url } = await gateway()
    expectError(await call(`${url}/v1/pools/${POOL}`, { method: 'DELETE' }), 409, 'POOL_IN_USE')
    expect(await client.config()).toBeDefined()
  })
})

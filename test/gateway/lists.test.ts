import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { seedJobs } from '../../bench/support/seed-jobs.ts'
import { newJobId } from '../../src/contract/ids.ts'
import { JOB_STATES } from '../../src/contract/job-states.ts'
import { jobSummarySchema } from '../../src/contract/job-summary.ts'
import { replicaEntrySchema } from '../../src/contract/replica-entry.ts'
import type { JobSummary } from '../../src/contract/wire-types.ts'
import { KEYS, POOL } from '../support/lab.ts'
import { call, expectError, post } from './calls.ts'
import { test as base } from './stage.ts'

const USER = 'u'.repeat(32)
const OPERATOR = 'o'.repeat(32)
const NOW = Date.now()

/** A file with a key of an ordinary caller and one of an operator. */
const test = base.extend('bearerFile', async ({}, { onCleanup }) => {
  const dir = await mkdtemp(join(tmpdir(), 'tgi-pool-lists-'))
  const file = join(dir, 'keys')
  await writeFile(file, `app ${USER}\nops+operate ${OPERATOR}\n`)
  onCleanup(() => rm(dir, { recursive: true }))
  return file
})

const as = (key: string) => ({ headers: { Authorization: `Bearer ${key}` } })

describe('GET /v1/jobs', () => {
  test('lists jobs page by page, as the library does', async ({ lab, gateway }) => {
    const client = await lab.client()
    const { url } = await gateway()
    expect((await call(`${url}/v1/jobs`)).json).toEqual({ jobs: [] })
    await seedJobs(
      lab.redis,
      KEYS,
      Array.from({ length: 25 }, (_, at) => ({
        jobId: newJobId(),
        state: JOB_STATES[at % 5] ?? 'queued',
        priority: at % 2 === 0 ? ('batch' as const) : ('interactive' as const),
        since: NOW - at,
      })),
    )
    const first = await call(`${url}/v1/jobs?limit=20&cursor=`)
    expect(first.status).toBe(200)
    const { next_cursor: next } = first.json
    const rest = await call(`${url}/v1/jobs?pool=${POOL}&limit=20&cursor=${String(next)}`)
    expect(rest.json).not.toHaveProperty('next_cursor')
    const jobs = [...(first.json['jobs'] as JobSummary[]), ...(rest.json['jobs'] as JobSummary[])]
    expect(jobs).toEqual((await client.jobs()).jobs)
    expect(jobSummarySchema.array().parse(jobs)).toEqual(jobs)
    const batch = await call(`${url}/v1/jobs?state=failed&priority=batch&whatever=1`)
    expect(batch.json['jobs']).toEqual((await client.jobs({ state: 'failed', priority: 'batch' })).jobs)
    const head = await call(`${url}/v1/jobs`, { method: 'HEAD' })
    expect(head).toMatchObject({ status: 200, text: '' })
  })

  test.for([
    ['limit=0', 'limit'],
    ['limit=1001', 'limit'],
    ['limit=1e2', 'limit'],
    ['limit=', 'limit'],
    ['state=running', 'state'],
    ['priority=high', 'priority'],
    ['cursor=x', 'cursor'],
    ['pool=A%20b', 'pool'],
  ] as const)('refuses %s', async ([query, field], { lab, gateway }) => {
    await lab.client()
    const { url } = await gateway()
    const error = expectError(await call(`${url}/v1/jobs?${query}`), 400, 'INVALID_PARAMS')
    expect(error['message']).toContain(`${field}:`)
  })

  test('wants a pool to be named unless there is exactly one', async ({ lab, gateway }) => {
    const { url } = await gateway()
    const none = expectError(await call(`${url}/v1/jobs`), 400, 'INVALID_PARAMS')
    expect(none['message']).toContain('there are none yet')
    await lab.client()
    expect((await call(`${url}/v1/jobs`)).status).toBe(200)
    await lab.client({}, 'two')
    const several = expectError(await call(`${url}/v1/jobs`), 400, 'INVALID_PARAMS')
    expect(several['message']).toContain(`there are: ${POOL}, two`)
    expect((await call(`${url}/v1/jobs?pool=two`)).json).toEqual({ jobs: [] })
    expectError(await call(`${url}/v1/jobs?pool=nowhere`), 404, 'POOL_UNAVAILABLE')
  })

  test('ignores a correlation id that does not fit, as it passes it to no job', async ({ lab, gateway }) => {
    await lab.client()
    const { url } = await gateway()
    const headers = { 'X-Correlation-Id': 'a b' }
    expect((await call(`${url}/v1/jobs`, { headers })).status).toBe(200)
    expectError(await post(`${url}/v1/jobs`, { pool: POOL, inputs: 'x' }, headers), 400, 'INVALID_PARAMS')
  })

  test('needs the scope operate, and says which and how to give it', async ({ lab, gateway, bearerFile }) => {
    await lab.client()
    const gate = await gateway({ bearerFile })
    for (const path of ['/v1/jobs', '/v1/jobs/', '/v1/jobs?pool=nowhere']) {
      const refused = expectError(await call(gate.url + path, as(USER)), 403, 'INSUFFICIENT_SCOPE')
      expect(refused).toMatchObject({ retriable: false, message: expect.stringContaining('scope operate') })
      expect(refused['message']).toContain('name+operate key')
    }
    expect((await call(`${gate.url}/v1/jobs`, { method: 'HEAD', ...as(USER) })).status).toBe(403)
    expectError(await call(`${gate.url}/v1/jobs`), 401, 'UNAUTHORIZED')
    expect((await call(`${gate.url}/v1/jobs`, as(OPERATOR))).json).toEqual({ jobs: [] })
    expect((await call(`${gate.url}/v1/pools`, as(USER))).status).toBe(200)
    await expect.poll(() => gate.lines.filter(({ key }) => key === 'ops')).toHaveLength(1)
    const names = new Set(gate.lines.map(({ key }) => key).filter((key) => key !== undefined))
    expect(names).toEqual(new Set(['app', 'ops']))
    expect(JSON.stringify(gate.lines)).not.toMatch(/u{16}|o{16}/)
  })

  test('works as soon as the key has the scope, and no longer than it has', async ({
    lab,
    gateway,
    bearerFile,
  }) => {
    await lab.client()
    const gate = await gateway({ bearerFile })
    const status = async () => (await call(`${gate.url}/v1/jobs`, as(USER))).status
    expect(await status()).toBe(403)
    await writeFile(bearerFile, `app+operate ${USER}`)
    await gate.reloadKeys()
    expect(await status()).toBe(200)
    await writeFile(bearerFile, USER)
    await gate.reloadKeys()
    expect(await status()).toBe(403)
  })
})

describe('GET /v1/pools/:pool/replicas', () => {
  test('lists the registry for any key, and no credentials', async ({ lab, gateway, bearerFile }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica())
    await expect.poll(() => client.replicas()).toMatchObject([{ state: 'ready' }])
    const gate = await gateway({ bearerFile })
    const [entry] = await client.replicas()
    const hostile = { ...entry, replica_id: 'r2', url: 'http://me:SECRET@h:80/x?key=SECRET#SECRET' }
    await lab.redis.hset(KEYS.replicas, 'r2', JSON.stringify(hostile))
    const answer = await call(`${gate.url}/v1/pools/${POOL}/replicas`, as(USER))
    expect(answer.status).toBe(200)
    expect(answer.text).not.toContain('SECRET')
    const { replicas } = answer.json
    expect(replicaEntrySchema.array().parse(replicas)).toMatchObject([
      { url: entry?.url },
      { replica_id: 'r2', url: 'http://h:80/x' },
    ])
    expectError(await call(`${gate.url}/v1/pools/${POOL}/replicas`), 401, 'UNAUTHORIZED')
  })

  test('of no pool, or one of no name, is an error', async ({ lab, gateway }) => {
    await lab.client()
    const { url } = await gateway()
    expect((await call(`${url}/v1/pools/${POOL}/replicas`)).json).toEqual({ replicas: [] })
    expectError(await call(`${url}/v1/pools/nowhere/replicas`), 404, 'POOL_UNAVAILABLE')
    expectError(await call(`${url}/v1/pools/A%20b/replicas`), 400, 'INVALID_PARAMS')
    expectError(
      await call(`${url}/v1/pools/${POOL}/replicas`, { method: 'DELETE' }),
      405,
      'METHOD_NOT_ALLOWED',
    )
  })

  test('lists the others when one entry of the registry cannot be read', async ({ lab, gateway }) => {
    const client = await lab.client()
    await lab.redis.hset(KEYS.replicas, 'bad', '{}')
    // A worker starts beside it, too.
    await lab.worker(await lab.replica(), { replicaId: 'good' })
    await expect.poll(() => client.replicas()).toMatchObject([{ state: 'lost' }, { state: 'ready' }])
    const { url } = await gateway()
    const answer = await call(`${url}/v1/pools/${POOL}/replicas`)
    expect([answer.status, answer.json]).toMatchObject([
      200,
      {
        replicas: [
          { replica_id: 'bad', reason: expect.stringContaining('registry') },
          { replica_id: 'good' },
        ],
      },
    ])
  })
})

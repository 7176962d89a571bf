import { pino } from 'pino'
import { expect } from 'vitest'
import { openPools } from '../../src/client/pools.ts'
import { poolKeys, poolsKey } from '../../src/contract/keys.ts'
import { examine } from '../../src/doctor/doctor.ts'
import { startMetricsServer } from '../../src/metrics/server.ts'
import { POOL } from '../support/lab.ts'
import type { Lab } from '../support/lab.ts'
import { call, post } from './calls.ts'
import { test } from './stage.ts'

/** Names that none of ours would give a pool. */
const BAD_NAMES = [
  '',
  'Not A Name',
  'x}y',
  '{',
  'p:q',
  '../etc',
  'ü',
  'a\nb',
  '-a',
  'a'.repeat(64),
  '\u001B[31m',
  '__proto__',
]

type Redis = Lab['redis']
type Break = (redis: Redis, pool: string) => Promise<unknown>

const keyOf = (pool: string, name: string) => `${poolKeys(pool).queuePrefix}:${name}`
const asText =
  (name: string): Break =>
  (redis, pool) =>
    redis.set(keyOf(pool, name), 'x')
const configured =
  (field: string, value: string): Break =>
  (redis, pool) =>
    redis.hset(keyOf(pool, 'config'), field, value)

/** What can be wrong with one pool, by the name of the pool. They come before and after the good one, which is `lab`. */
const BROKEN: Readonly<Record<string, Break>> = {
  'a-config-not-json': configured('max_queued', 'many'),
  'a-config-wrong-type': configured('retention_ms', '"long"'),
  'a-config-negative': configured('deadline_ms', '-1'),
  'a-config-null': configured('pin', 'null'),
  'a-config-is-text': asText('config'),
  'a-replicas-is-text': asText('replicas'),
  'z-replica-not-json': (redis, pool) => redis.hset(keyOf(pool, 'replicas'), 'r1', '{'),
  'z-replica-empty': (redis, pool) => redis.hset(keyOf(pool, 'replicas'), 'r1', '{}'),
  'z-prioritized-is-text': asText('jobs:prioritized'),
  'z-active-is-text': asText('batch:active'),
  'z-wait-is-text': asText('jobs:wait'),
  'z-deadlines-is-text': asText('deadlines'),
  'z-counters-is-text': asText('counters'),
  'z-index-is-text': asText('index:cancelled'),
  'z-bytes-is-text': asText('bytes'),
}
/** Those whose config cannot be read. */
const UNREADABLE = Object.keys(BROKEN).filter((pool) => pool.startsWith('a-config'))
/** Those in whose queue no job can be looked for. */
const UNSEARCHABLE = ['z-prioritized-is-text', 'z-active-is-text', 'z-wait-is-text']

async function breakPools({ redis }: Lab): Promise<void> {
  for (const [pool, damage] of Object.entries(BROKEN)) {
    await redis.sadd(poolsKey(), pool)
    await damage(redis, pool)
  }
  await redis.sadd(poolsKey(), ...BAD_NAMES)
}

test('bad names and broken pools do not keep the gateway from serving the others, and each is told by itself', async ({
  lab,
  gateway,
}) => {
  const client = await lab.client()
  await breakPools(lab)
  await lab.worker(await lab.replica())
  const { url } = await gateway()

  const listed = await call(`${url}/v1/pools`)
  expect(listed.status).toBe(200)
  const pools = listed.json['pools'] as { pool_id: string; config?: object; error?: string }[]
  expect(pools.map(({ pool_id: id }) => id)).toEqual([...Object.keys(BROKEN), POOL].toSorted())
  expect(pools.filter(({ config }) => config === undefined).map(({ pool_id: id }) => id)).toEqual(
    UNREADABLE.toSorted(),
  )
  for (const { pool_id: id, config, error } of pools) {
    if (config === undefined) expect(error).toContain(`pool ${id}`)
    else expect(error).toBeUndefined()
  }

  const posted = await post(`${url}/v1/jobs`, {
    pool: POOL,
    inputs: 'hello',
    parameters: { max_new_tokens: 4 },
  })
  expect(posted.status).toBe(202)
  const id = String(posted.json['job_id'])
  await client.result(id)
  expect(await call(`${url}/v1/jobs/${id}`)).toMatchObject({
    status: 200,
    json: { pool_id: POOL, state: 'ended' },
  })
  // It may be in one of those that cannot be searched, so nobody can say that there is none.
  const unknown = await call(`${url}/v1/jobs/no-such-job`)
  expect(unknown.status).toBe(503)
  expect(unknown.text).toMatch(/POOL_UNREADY.*no-such-job.*pool z-/)
  for (const pool of UNSEARCHABLE) await lab.redis.srem(poolsKey(), pool)
  expect((await call(`${url}/v1/jobs/no-such-job`)).status).toBe(404)
  expect((await call(`${url}/v1/jobs/${id}`, { method: 'DELETE' })).status).toBe(204)
  expect((await call(`${url}/readyz`)).status).toBe(200)
  const unmade = await post(`${url}/v1/jobs`, { pool: 'unmade', inputs: 'x' })
  expect(unmade.status).toBe(404)
})

test('nor sweeps of the others, and each is logged by itself', async ({ lab }) => {
  await breakPools(lab)
  const last = await lab.client({}, 'zz-last')
  const client = await lab.client()
  const late = await last.enqueue({ inputs: 'x', deadline_ms: 1 })
  await lab.worker(await lab.replica())
  await expect.poll(() => last.job(late.job_id)).toMatchObject({ error: { code: 'DEADLINE_UNMET' } })
  expect((await client.result((await client.enqueue({ inputs: 'x' })).job_id)).text).not.toBe('')
  expect(await client.replicas()).toHaveLength(1)
  const warnings = () => lab.lines.filter((line) => line.includes('"deadline sweep failed"'))
  const told = [...UNREADABLE, 'z-deadlines-is-text', 'z-index-is-text', 'z-wait-is-text']
  await expect
    .poll(() => told.filter((pool) => !warnings().some((line) => line.includes(`pool ${pool}`))))
    .toEqual([])
  const named = warnings().filter((line) => line.includes('list of pools'))
  expect(named).toHaveLength(1)
  expect(named[0]).toContain('and 11 more')
})

test('a config that is broken meanwhile does not keep accepted jobs from their deadlines', async ({
  lab,
}) => {
  const client = await lab.client()
  // A worker of another pool sweeps this one, too.
  await lab.client({}, 'other')
  await lab.worker(await lab.replica(), { pool: 'other' })
  const first = await client.enqueue({ inputs: 'x', deadline_ms: 1 })
  await expect.poll(() => client.job(first.job_id)).toMatchObject({ error: { code: 'DEADLINE_UNMET' } })
  const second = await client.enqueue({ inputs: 'x', deadline_ms: 500 })
  await lab.redis.hset(keyOf(POOL, 'config'), 'retention_ms', 'long')
  const last = async () =>
    (await lab.redis.xrevrange(poolKeys(POOL).events(second.job_id), '+', '-', 'COUNT', 1))[0]?.[1]
  await expect.poll(last).toContain('error')
  expect(lab.lines.join('')).toContain(`config of pool ${POOL}: retention_ms: expected JSON`)
})

test('nor metrics, and doctor names each of them', async ({ lab }) => {
  const client = await lab.client()
  await breakPools(lab)
  await lab.worker(await lab.replica())
  await client.result((await client.enqueue({ inputs: 'x' })).job_id)
  const lines: string[] = []
  const logger = pino({ level: 'info' }, { write: (line: string) => void lines.push(line) })
  const server = await startMetricsServer({ redisUrl: lab.redisUrl, port: 0, cacheMs: 0, logger })
  try {
    for (const _ of [1, 2]) {
      const text = await (await fetch(`${server.url}/metrics`)).text()
      expect(text).toContain(`tgi_pool_read_success{pool_id="${POOL}"} 1`)
      expect(text).toMatch(new RegExp(`tgi_pool_jobs_total\\{.*pool_id="${POOL}".*\\} 1`))
      for (const pool of ['a-replicas-is-text', ...UNSEARCHABLE, 'z-counters-is-text'])
        expect(text).toContain(`tgi_pool_read_success{pool_id="${pool}"} 0`)
      for (const pool of ['z-replica-not-json', 'z-replica-empty'])
        expect(text).toContain(`tgi_pool_replica_state{pool_id="${pool}",replica_id="r1",state="lost"} 1`)
      expect(text).not.toContain('Not A Name')
    }
    expect(lines.filter((line) => line.includes('list of pools'))).toHaveLength(1)
    expect(lines.filter((line) => line.includes('pool z-counters-is-text'))).toHaveLength(1)
    const unreadable = lines.filter((line) => line.includes('replica z-replica-not-json/r1'))
    expect(unreadable).toEqual([expect.stringContaining('its registry entry cannot be read: not JSON')])
  } finally {
    await server.close()
  }

  const report = await examine({ redisUrl: lab.redisUrl })
  expect(report.pools.map(({ pool_id: id }) => id)).toContain(POOL)
  const wrong = report.findings.filter(({ status }) => status !== 'ok')
  for (const pool of [...UNREADABLE, 'a-replicas-is-text', ...UNSEARCHABLE])
    expect(wrong.map(({ subject }) => subject)).toContain(`pool ${pool}`)
  expect(wrong.map(({ subject }) => subject)).toContain('replica z-replica-empty/r1')
  expect(wrong.filter(({ subject }) => subject === `pool ${POOL}`)).toEqual([])
  expect(wrong.filter(({ check }) => check === 'pools')).toHaveLength(BAD_NAMES.length)
})

test('nor those that the Redis user may not read', async ({ lab }) => {
  const [mine] = [await lab.client({}, 'mine'), await lab.client({}, 'other')]
  await mine.enqueue({ inputs: 'x' }, { jobId: 'job-1' })
  const rules = [
    'on',
    '>secret',
    'resetkeys',
    '~tgi-pool:{mine}:*',
    '%R~tgi-pool:pools',
    '&tgi-pool:{mine}:*',
    '+@all',
  ]
  await lab.redis.call('ACL', ['SETUSER', 'restricted', 'reset', ...rules])
  const pools = await openPools({ redisUrl: lab.redisUrl.replace('//', '//restricted:secret@') })
  try {
    expect((await pools.locate('job-1')).pool).toBe('mine')
    await expect(pools.locate('job-2')).rejects.toMatchObject({ kind: 'UNKNOWN_JOB' })
    expect(await pools.list()).toMatchObject([
      { pool_id: 'mine', config: {} },
      { pool_id: 'other', error: /NOPERM/ },
    ])
  } finally {
    await pools.close()
    await lab.redis.call('ACL', ['DELUSER', 'restricted'])
  }
})

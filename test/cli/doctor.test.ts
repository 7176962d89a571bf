import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { describe, expect } from 'vitest'
import { poolKeys } from '../../src/contract/keys.ts'
import { connectToServer } from '../../src/redis/connect.ts'
import { freePort } from '../../src/redis/server.ts'
import type { Report } from '../../src/doctor/report.ts'
import { jsonLines } from './run-cli.ts'
import { test } from './stage.ts'
import type { Stage } from './stage.ts'

/** An address of a Redis of the test's own that has a file, as it should. */
async function goodRedis(stage: Stage, ...args: readonly string[]): Promise<string> {
  return (await stage.redis({ args: ['--appendonly', 'yes', ...args] })).url
}

/** Lines without the one that a slow machine adds. */
function linesOf(stdout: string): readonly string[] {
  return stdout.split('\n').filter((line) => !line.startsWith('warning  redis: PING takes'))
}

describe.concurrent('doctor', () => {
  test('says in one line that all is well, and exits with 0', async ({ stage }) => {
    await stage.serve()
    const { status, stdout, stderr } = await stage.cli(['doctor'])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    const lines = linesOf(stdout)
    // The stage's Redis keeps nothing.
    expect(lines[0]).toMatch(
      /^warning {2}redis: appendonly is no: .* \| do: redis-cli CONFIG SET appendonly yes/,
    )
    expect(lines[1]).toMatch(
      new RegExp(`^ok {7}\\d+ checks \\(pool ${stage.pool}: 0 waiting, 0 running, 1 replica\\)$`),
    )
    expect(lines.slice(2)).toEqual([''])
  })

  test('tells faults first, a line each, and exits with 1', async ({ stage }) => {
    const client = await stage.client()
    await client.enqueue({ inputs: 'SECRET' })
    const { status, stdout, stderr } = await stage.cli(['doctor'])
    expect({ status, stderr }).toEqual({ status: 1, stderr: '' })
    const kinds = linesOf(stdout).map((line) => line.split(' ')[0])
    expect(kinds).toEqual(['fault', 'warning', 'ok', ''])
    expect(stdout).toContain(
      `fault    pool ${stage.pool}: 1 job waiting, and no worker serves it | do: tgi-pool worker --pool ${stage.pool} --replica http://<host>:<port>\n`,
    )
    expect(stdout).not.toContain('SECRET')
  })

  test('prints one object with --json, and the same exit status', async ({ stage }) => {
    await stage.client()
    const good = await stage.cli(['doctor', '--json'])
    expect(good).toMatchObject({ status: 0, stderr: '' })
    const [report, ...more] = jsonLines(good.stdout) as Report[]
    expect(more).toEqual([])
    expect(Object.keys(report ?? {})).toEqual(['redis', 'pools', 'findings', 'ok'])
    expect(report).toMatchObject({ ok: true, redis: { role: 'master' }, pools: [{ pool_id: stage.pool }] })
    await (await stage.client()).enqueue({ inputs: 'a' })
    const bad = await stage.cli(['doctor', '--json'])
    expect(bad.status).toBe(1)
    expect(jsonLines(bad.stdout)).toMatchObject([{ ok: false }])
  })

  test('looks at all pools unless one is named', async ({ stage }) => {
    const redisUrl = await goodRedis(stage)
    const env = { REDIS_URL: redisUrl, TGI_POOL: '' }
    for (const pool of ['a', 'b']) await stage.cli(['pool', 'create', '--pool', pool], { env })
    const all = await stage.cli(['doctor', '--json'], { env })
    expect(jsonLines(all.stdout)).toMatchObject([{ pools: [{ pool_id: 'a' }, { pool_id: 'b' }] }])
    const one = await stage.cli(['doctor', '--json', '--pool', 'b'], { env })
    expect(jsonLines(one.stdout)).toMatchObject([{ pools: [{ pool_id: 'b' }] }])
  })

  test('of a Redis that is not there is one line and exit 1', async ({ stage }) => {
    const port = await freePort()
    const env = { REDIS_URL: `redis://127.0.0.1:${port}` }
    const [plain, json] = await Promise.all([
      stage.cli(['doctor'], { env }),
      stage.cli(['doctor', '--json'], { env }),
    ])
    expect(plain).toMatchObject({
      status: 1,
      stderr: '',
      stdout: `fault    redis: Redis at redis://127.0.0.1:${port} does not answer: connect ECONNREFUSED 127.0.0.1:${port} | do: start Redis there, or set REDIS_URL to its address\n`,
    })
    expect(json.status).toBe(1)
    expect(jsonLines(json.stdout)).toMatchObject([{ ok: false, redis: null, pools: [], findings: [{}] }])
  })

  test('of a Redis that says nothing ends by itself', async ({ stage }) => {
    const server = createServer()
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    stage.afterwards(() => server.close())
    const env = { REDIS_URL: `redis://127.0.0.1:${(server.address() as AddressInfo).port}` }
    const { status, stdout } = await stage.cli(['doctor'], { env })
    expect({ status, stdout }).toMatchObject({
      status: 1,
      stdout: expect.stringMatching(/^fault {4}redis: /),
    })
  })

  test('of a wrong setting names the command that mends it, which does', async ({ stage }) => {
    const redisUrl = await goodRedis(stage, '--maxmemory-policy', 'allkeys-lru')
    const env = { REDIS_URL: redisUrl, TGI_POOL: '' }
    const before = await stage.cli(['doctor'], { env })
    expect(before.status).toBe(1)
    const command = /do: redis-cli (.*)/.exec(before.stdout)?.[1]?.split(' ') ?? []
    const redis = await connectToServer(redisUrl, { role: 'commands' })
    const [name = '', ...args] = command
    await redis.call(name, ...args)
    redis.disconnect()
    expect(await stage.cli(['doctor'], { env })).toMatchObject({ status: 0 })
  })

  test('tells nothing that would move a terminal’s cursor', async ({ stage }) => {
    await stage.client()
    const redis = await connectToServer(stage.redisUrl, { role: 'commands' })
    const keys = poolKeys(stage.pool)
    const entry = {
      replica_id: 'r',
      worker_id: 'w',
      url: 'http://127.0.0.1:1',
      state: 'unhealthy',
      reason: 'r\u001b[2J\nok',
      versions: null,
      slots: 1,
      slots_configured: 1,
      busy: 0,
      capabilities: [],
      updated_at: Date.now(),
    }
    await redis.hset(keys.replicas, 'r', JSON.stringify(entry))
    await redis.set(keys.lease('r'), 'w', 'PX', 3_600_000)
    redis.disconnect()
    const { status, stdout } = await stage.cli(['doctor'])
    expect(status).toBe(1)
    expect(stdout).not.toContain('\u001b')
    expect(stdout.split('\n').filter((line) => line.startsWith('fault'))).toHaveLength(1)
  })

  test('refuses a pool’s name that is none', async ({ stage }) => {
    const { status, stdout, stderr } = await stage.cli(['doctor', '--pool', 'Not One'])
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' })
    expect(stderr).toMatch(/pool: expected 1 to 63 of a-z/)
  })
})

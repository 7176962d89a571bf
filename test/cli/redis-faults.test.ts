import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import { connectToServer } from '../../src/redis/connect.ts'
import { freePort } from '../../src/redis/server.ts'
import { openPool } from '../../src/client/pools.ts'
import { jsonLines } from './run-cli.ts'
import { test } from './stage.ts'
import type { Stage } from './stage.ts'

const POOL_VERBS = [
  ['enqueue', 'SECRET'],
  ['generate', 'SECRET'],
  ['events', 'j'],
  ['replicas'],
  ['pool', 'create'],
  ['pool', 'list'],
  ['worker', '--replica', 'http://127.0.0.1:1'],
  ['demo'],
] as const

async function dataDir(stage: Stage): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'tgi-pool-cli-redis-'))
  stage.afterwards(() => rm(dir, { recursive: true, force: true }))
  return dir
}

/** Enqueues job `j` on a Redis that is not the stage's, in a pool that it makes. */
async function enqueueOn(redisUrl: string, pool: string): Promise<void> {
  const client = await openPool({ redisUrl, pool })
  await client.create()
  await client.enqueue({ inputs: 'hello' }, { jobId: 'j' })
  await client.close()
}

describe.concurrent('a Redis that is not there', () => {
  test('is one clear line and exit 1, whatever the verb', async ({ stage }) => {
    const port = await freePort()
    const env = { REDIS_URL: `redis://127.0.0.1:${port}` }
    const results = await Promise.all(POOL_VERBS.map((args) => stage.cli(args, { env })))
    for (const [index, result] of results.entries()) {
      expect(result, POOL_VERBS[index]?.join(' ')).toEqual({
        status: 1,
        signal: undefined,
        stdout: '',
        stderr: `tgi-pool: REDIS_UNAVAILABLE: Redis at redis://127.0.0.1:${port} does not answer: connect ECONNREFUSED 127.0.0.1:${port}; start Redis there, or give its URL with --redis or REDIS_URL\n`,
      })
    }
  })

  test('is one JSON line with --json', async ({ stage }) => {
    const env = { REDIS_URL: `redis://127.0.0.1:${await freePort()}` }
    const { status, stdout, stderr } = await stage.cli(['replicas', '--json'], { env })
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' })
    expect(jsonLines(stderr)).toMatchObject([
      { error: { code: 'REDIS_UNAVAILABLE', retriable: true, retry_after_ms: 1000 } },
    ])
  })
})

describe.concurrent('a password', () => {
  const VERBS = [
    ['generate', 'hello'],
    ['events', 'j'],
    ['worker', '--replica', 'http://127.0.0.1:1'],
    ['demo'],
  ] as const

  test('that is wrong or missing is said to be, and stands nowhere in what is printed', async ({ stage }) => {
    const { port } = await stage.redis()
    const redis = await connectToServer(`redis://127.0.0.1:${port}`, { role: 'commands' })
    await redis.config('SET', 'requirepass', 'right')
    redis.disconnect()
    const wrong = { REDIS_URL: `redis://somebody:hunter2@127.0.0.1:${port}` }
    const missing = { REDIS_URL: `redis://127.0.0.1:${port}` }
    const refused = (code: string) =>
      `tgi-pool: REDIS_UNAVAILABLE: Redis at redis://127.0.0.1:${port} refuses the user or password (${code})\n`
    for (const result of await Promise.all(VERBS.map((args) => stage.cli(args, { env: wrong })))) {
      expect(result).toMatchObject({ status: 1, stdout: '', stderr: refused('WRONGPASS') })
    }
    const result = await stage.cli(['replicas'], { env: missing })
    expect(result).toMatchObject({ status: 1, stdout: '', stderr: refused('NOAUTH') })
    const right = await stage.cli(['pool', 'list'], {
      env: { REDIS_URL: `redis://:right@127.0.0.1:${port}` },
    })
    expect(right).toMatchObject({ status: 0, stderr: '' })
  })

  test('among the arguments is warned of, and the warning does not repeat it', async ({ stage }) => {
    const { port } = await stage.redis()
    const result = await stage.cli(['pool', 'list', '--redis', `redis://:hunter2@127.0.0.1:${port}`])
    expect(result.stdout).toBe('')
    expect(result.stderr).toContain('use REDIS_URL')
    expect(result.stderr).not.toContain('hunter2')
  })

  test('with a # in it that was not escaped stands nowhere in what is printed', async ({ stage }) => {
    const result = await stage.cli(['pool', 'list'], {
      env: { REDIS_URL: 'redis://:hunter@2#secret@127.0.0.1:1' },
    })
    expect(result.stderr).not.toMatch(/hunter|secret/)
  })
})

test.concurrent('a database that is not there is an error', async ({ stage }) => {
  const result = await stage.cli(['pool', 'list'], { env: { REDIS_URL: `${stage.redisUrl}/99` } })
  expect(result.status).toBe(1)
})

test.concurrent('a Redis that takes connections and says nothing is given up on', async ({ stage }) => {
  const redis = await stage.redis()
  process.kill(redis.pid, 'SIGSTOP')
  const result = await stage.cli(['replicas'], { env: { REDIS_URL: redis.url } })
  expect(result).toMatchObject({ status: 1, stdout: '' })
  expect(result.stderr).toMatch(
    /^tgi-pool: REDIS_UNAVAILABLE: Redis at [^\n]+ does not answer: no answer within \d+ ms; start Redis there, or give its URL with --redis or REDIS_URL\n$/,
  )
})

describe.concurrent('a Redis that dies under a reader', () => {
  test('and comes back at its address: events go on where they were', async ({ stage }) => {
    const dir = await dataDir(stage)
    const first = await stage.redis({ dir, args: ['--appendfsync', 'always'] })
    await enqueueOn(first.url, stage.pool)
    const env = { REDIS_URL: first.url }
    const events = stage.start(['events', 'j', '--json'], { env })
    await events.printed('"queued"')
    await first.stop()
    await stage.redis({ dir, port: first.port })
    expect(await stage.cli(['cancel', 'j'], { env })).toMatchObject({ status: 0 })
    const { status, stdout, stderr } = await events.over
    expect({ status, stderr }).toEqual({ status: 3, stderr: '' })
    expect(jsonLines(stdout)).toMatchObject([
      { event: 'queued' },
      { event: 'error', data: { code: 'CANCELLED' } },
    ])
  })

  test('and stays away: one clear error, after half a minute of hope', async ({ stage }) => {
    const redis = await stage.redis()
    await enqueueOn(redis.url, stage.pool)
    const env = { REDIS_URL: redis.url }
    const runs = [
      stage.start(['events', 'j'], { env }),
      stage.start(['generate', 'hello', '--json'], { env }),
    ]
    await Promise.all(runs.map((run) => run.printed('queued')))
    await redis.stop()
    for (const { status, stderr } of await Promise.all(runs.map((run) => run.over))) {
      expect(status).toBe(1)
      expect(stderr).toMatch(
        /^(tgi-pool: |\{"error":\{"code":")REDIS_UNAVAILABLE.*Redis went away while reading job [^\n]*\n$/,
      )
    }
  })

  test('lets Ctrl-C through while it is away', async ({ stage }) => {
    const redis = await stage.redis()
    await enqueueOn(redis.url, stage.pool)
    const events = stage.start(['events', 'j'], { env: { REDIS_URL: redis.url } })
    await events.printed('queued')
    await redis.stop()
    events.kill('SIGINT')
    expect(await events.over).toMatchObject({ status: 130, stderr: '' })
  })
})

describe.concurrent('a Redis that dies under a worker', () => {
  test('does not keep it from obeying SIGTERM', async ({ stage }) => {
    const redis = await stage.redis()
    const replica = await stage.replica()
    const worker = stage.start(['worker', '--replica', replica.url, '--grace-ms', '500'], {
      env: { REDIS_URL: redis.url },
    })
    await worker.printed('replica is ready', 'stderr')
    await redis.stop()
    await worker.printed('Redis connection lost', 'stderr')
    worker.kill('SIGTERM')
    const limit = setTimeout(() => worker.kill('SIGKILL'), 15_000)
    const { status, stderr } = await worker.over
    clearTimeout(limit)
    expect(stderr).toContain('worker stopped')
    expect(status).toBe(0)
  })
})

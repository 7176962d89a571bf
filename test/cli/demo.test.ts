import { describe, expect } from 'vitest'
import type { Redis } from 'ioredis'
import { connectToServer } from '../../src/redis/connect.ts'
import { test } from './stage.ts'

/** A demo's own Redis is asked for: that of the stage must not be seen. */
const OWN = { env: { REDIS_URL: '' } }

function addressIn(stdout: string): string {
  return /redis:\/\/127\.0\.0\.1:\d+/.exec(stdout)?.[0] ?? 'redis://none'
}

function replicasIn(stdout: string): string[] {
  return [...new Set(stdout.match(/http:\/\/127\.0\.0\.1:\d+/g))].filter((url) => url !== gatewayIn(stdout))
}

function gatewayIn(stdout: string): string | undefined {
  return /all routes: (\S+)\/docs/.exec(stdout)?.[1]
}

async function isGone(redisUrl: string): Promise<boolean> {
  return connectToServer(redisUrl, { role: 'commands', connectTimeoutMs: 1000 }).then(
    (redis) => {
      redis.disconnect()
      return false
    },
    () => true,
  )
}

/** Ends a Redis that a demo has left, so that a fault here leaves nothing either. */
async function endLeftover(redisUrl: string): Promise<void> {
  const redis: Redis | undefined = await connectToServer(redisUrl, { role: 'commands' }).catch(
    () => undefined,
  )
  await redis?.shutdown('NOSAVE').catch(() => undefined)
  redis?.disconnect()
}

async function expectNothingLeft(stdout: string): Promise<void> {
  const redisUrl = addressIn(stdout)
  const replicas = replicasIn(stdout)
  try {
    expect(redisUrl).not.toBe('redis://none')
    expect(await isGone(redisUrl)).toBe(true)
    expect(replicas).toHaveLength(2)
    const gateway = gatewayIn(stdout)
    const served = gateway === undefined ? replicas : [...replicas, gateway]
    for (const url of served) await expect(fetch(url)).rejects.toThrow('fetch failed')
  } finally {
    await endLeftover(redisUrl)
  }
}

describe.concurrent('demo', () => {
  test('shows the main job, exits 0 and leaves nothing', async ({ stage }) => {
    const { status, stdout, stderr } = await stage.cli(['demo'], OWN)
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toMatch(/: 40 tokens, the first after \d+ ms/)
    expect(stdout).toMatch(/together they are the \d+ events/)
    expect(stdout).toMatch(/the job ended: {2}CANCELLED/)
    expect(stdout).toMatch(/the replica: {4}running 0, dropped 1/)
    await expectNothingLeft(stdout)
  })

  test('with --keep stays and says how to go on; what it says works; one SIGINT ends it with 0', async ({
    stage,
  }) => {
    const demo = stage.start(['demo', '--keep'], OWN)
    await demo.printed('Replicas ')
    const redisUrl = addressIn(demo.stdout)
    expect(demo.stdout).toContain(`generate "Once upon a time" --pool demo --redis ${redisUrl}`)
    const at = ['--pool', 'demo', '--redis', redisUrl]
    expect(await stage.cli(['generate', 'Once upon a time', '--max-new-tokens', '5', ...at])).toMatchObject({
      status: 0,
      stderr: '',
    })
    const { stdout: table } = await stage.cli(['replicas', ...at])
    for (const url of replicasIn(demo.stdout)) expect(table).toContain(url)
    const gateway = gatewayIn(demo.stdout) ?? ''
    const [post = '', get = ''] = demo.stdout.match(/curl -.*/g) ?? []
    const [, url = '', body = ''] =
      /^curl -s (\S+) -H 'Content-Type: application\/json' -d '(.*)'$/.exec(post) ?? []
    expect(url).toBe(`${gateway}/v1/jobs`)
    const accepted = await fetch(url, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body,
    })
    expect([accepted.status, await accepted.json()]).toMatchObject([202, { job_id: 'first', pool: 'demo' }])
    expect(get).toBe(`curl -N ${gateway}/v1/jobs/first/events`)
    expect(await (await fetch(get.slice('curl -N '.length))).text()).toMatch(/\nevent: end\n/)
    demo.kill('SIGINT')
    const { status, stdout, stderr } = await demo.over
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    await expectNothingLeft(stdout)
  })

  test('with --keep is ended with 0 and nothing left by the Ctrl-C of npm, which comes twice', async ({
    stage,
  }) => {
    const demo = stage.start(['demo', '--keep'], OWN)
    await demo.printed('Replicas ')
    demo.interruptTwice()
    const { status, stdout } = await demo.over
    await expectNothingLeft(stdout)
    expect(status).toBe(0)
  })

  test('that is interrupted half way leaves nothing', async ({ stage }) => {
    const demo = stage.start(['demo'], OWN)
    await demo.printed('1. A prompt')
    demo.kill('SIGINT')
    const { status, stdout, stderr } = await demo.over
    expect({ status, stderr }).toEqual({ status: 130, stderr: '' })
    await expectNothingLeft(stdout)
  })

  test('whose reader has gone leaves nothing', async ({ stage }) => {
    const demo = stage.start(['demo'], OWN)
    await demo.printed('1. A prompt')
    demo.closeStdout()
    await demo.over
    await expectNothingLeft(demo.stdout)
  })

  test('uses the Redis and the replicas that it is given, and leaves them running', async ({ stage }) => {
    const replica = await stage.replica({ tokensPerSecond: 100 })
    const { status, stdout, stderr } = await stage.cli(['demo', '--replica', replica.url])
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
    expect(stdout).toContain(`Redis at ${stage.redisUrl}`)
    expect(replicasIn(stdout)).toEqual([replica.url])
    expect(await isGone(stage.redisUrl)).toBe(false)
    expect((await fetch(`${replica.url}/health`)).status).toBe(200)
    expect(replica.seen).toMatchObject({ open: 0, requests: [{}, {}, { outcome: 'aborted' }] })
  })

  test('refuses an address as the worker does', async ({ stage }) => {
    const result = await stage.cli(['demo', '--replica', '127.0.0.1:8080'])
    expect(result).toMatchObject({ status: 2, stdout: '', stderr: expect.stringContaining('127.0.0.1:8080') })
  })
})

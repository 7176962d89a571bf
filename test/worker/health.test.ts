import { describe, expect } from 'vitest'
import { freePort } from '../../src/redis/server.ts'
import type { CliRun } from '../cli/run-cli.ts'
import { test } from '../cli/stage.ts'
import type { Stage } from '../cli/stage.ts'

/** The answer of a health route; undefined when nobody answers. */
async function ask(port: number, path: '/livez' | '/readyz') {
  try {
    const answer = await fetch(`http://127.0.0.1:${port}${path}`, { headers: { connection: 'close' } })
    return { status: answer.status, body: await answer.json() }
  } catch {
    return undefined
  }
}

const LIVE = { status: 200, body: { status: 'ok' } }
const READY = { status: 200, body: { status: 'ready' } }

const notReady = (reason: RegExp) => ({
  status: 503,
  body: { status: 'not ready', reason: expect.stringMatching(reason) as unknown },
})

/** A worker with a health port. */
async function startWorker(
  stage: Stage,
  url: string,
  env: Readonly<Record<string, string>> = {},
): Promise<{ readonly port: number; readonly run: CliRun }> {
  const args = ['worker', '--replica', url, '--health-port', '0', '--grace-ms', '60000']
  const run = stage.start(args, { env })
  await run.printed('worker started', 'stderr')
  const port = Number(/"url":"http:\/\/127\.0\.0\.1:(\d+)"/.exec(run.stderr)?.[1])
  return { port, run }
}

async function stop(...runs: readonly CliRun[]): Promise<void> {
  for (const run of runs) run.kill('SIGTERM')
  for (const run of runs) expect(await run.over).toMatchObject({ status: 0 })
}

describe('the health port of a worker', () => {
  test('says ready when the replica is, and why when it is not', async ({ stage }) => {
    await stage.client()
    const replica = await stage.replica()
    const { port, run } = await startWorker(stage, replica.url)
    await expect.poll(() => ask(port, '/readyz')).toEqual(READY)
    expect(await ask(port, '/livez')).toEqual(LIVE)
    replica.setHealthy(false)
    await expect.poll(() => ask(port, '/readyz')).toEqual(notReady(/^unhealthy: the replica is not healthy/))
    expect(await ask(port, '/livez')).toEqual(LIVE)
    replica.setHealthy(true)
    await expect.poll(() => ask(port, '/readyz')).toEqual(READY)
    await stop(run)
    expect(await ask(port, '/livez')).toBe(undefined)
  })

  test('says that it stands by, until the other worker leaves', async ({ stage }) => {
    await stage.client()
    const replica = await stage.replica()
    const first = await startWorker(stage, replica.url)
    await expect.poll(() => ask(first.port, '/readyz')).toEqual(READY)
    const second = await startWorker(stage, replica.url)
    expect(await ask(second.port, '/readyz')).toEqual(notReady(/^standby: .*lease/))
    await stop(first.run)
    await expect.poll(() => ask(second.port, '/readyz')).toEqual(READY)
    await stop(second.run)
  })

  test('says that it differs from the pin', async ({ stage }) => {
    await stage.client({ pin: { model_id: 'another' } })
    const { port, run } = await startWorker(stage, (await stage.replica()).url)
    await expect
      .poll(() => ask(port, '/readyz'))
      .toEqual(notReady(/^drifted: differs from the pool's pin: model_id: expected another, got simulated/))
    await stop(run)
  })

  test('says that it drains, and answers until the last job is over', async ({ stage }) => {
    const client = await stage.client()
    const replica = await stage.replica({ prefillMs: 60_000 })
    const { port, run } = await startWorker(stage, replica.url)
    const { job_id: jobId } = await client.enqueue({ inputs: 'x' })
    await expect.poll(() => replica.seen.open).toBe(1)
    run.kill('SIGTERM')
    await expect
      .poll(() => ask(port, '/readyz'))
      .toEqual(notReady(/^draining: the worker is draining or stopping$/))
    expect(await ask(port, '/livez')).toEqual(LIVE)
    await client.cancel(jobId)
    expect(await run.over).toMatchObject({ status: 0 })
  })

  test('says that it has no lease when Redis is away, and lives', async ({ stage }) => {
    const redis = await stage.redis()
    const { port, run } = await startWorker(stage, (await stage.replica()).url, { REDIS_URL: redis.url })
    await expect.poll(() => ask(port, '/readyz')).toEqual(READY)
    process.kill(redis.pid, 'SIGSTOP')
    await expect.poll(() => ask(port, '/readyz')).toEqual(notReady(/Redis does not answer/))
    expect(await ask(port, '/livez')).toEqual(LIVE)
    process.kill(redis.pid, 'SIGCONT')
    await expect.poll(() => ask(port, '/readyz')).toEqual(READY)
    await stop(run)
  })

  test('that somebody else has is told before anything starts', async ({ stage }) => {
    const client = await stage.client()
    const { port } = await stage.replica({ port: await freePort() })
    const args = ['worker', '--replica', 'http://127.0.0.1:1']
    const result = await stage.cli(args, { env: { TGI_POOL_HEALTH_PORT: String(port) } })
    expect(result).toMatchObject({
      status: 2,
      stdout: '',
      stderr: `tgi-pool: CONFIG: cannot listen on 127.0.0.1:${port}: the port is in use (EADDRINUSE); choose another with --health-port or TGI_POOL_HEALTH_PORT (0 picks a free one), or stop the process that uses it\n`,
    })
    expect(await client.replicas()).toEqual([])
  })

  test('is closed again when the worker cannot start', async ({ stage }) => {
    const env = { REDIS_URL: `redis://127.0.0.1:${await freePort()}`, TGI_POOL_HEALTH_PORT: '0' }
    const result = await stage.cli(['worker', '--replica', 'http://127.0.0.1:1'], { env })
    expect(result).toMatchObject({ status: 1, stderr: expect.stringContaining('REDIS_UNAVAILABLE') })
  })

  test('is nowhere unless asked for', async ({ stage }) => {
    await stage.client()
    const run = stage.start(['worker', '--replica', (await stage.replica()).url])
    await run.printed('worker started', 'stderr')
    expect(run.stderr).not.toContain('health')
    await stop(run)
  })
})

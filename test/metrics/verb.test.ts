import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { describe, expect } from 'vitest'
import { freePort } from '../../src/redis/server.ts'
import type { CliOptions, CliRun } from '../cli/run-cli.ts'
import { jsonLines } from '../cli/run-cli.ts'
import { test } from '../cli/stage.ts'
import type { Stage } from '../cli/stage.ts'
import { health, scrape } from './stage.ts'

/** `tgi-pool metrics` on a free port; the test ends it. */
async function start(
  stage: Stage,
  options?: CliOptions,
): Promise<{ readonly url: string; readonly run: CliRun }> {
  const run = stage.start(['metrics', '--port', '0'], options)
  await run.printed('metrics server started', 'stderr')
  return { url: urlIn(run.stderr), run }
}

/** Where it says that it serves. */
function urlIn(log: string): string {
  const url = /"url":"(\S+?)\/metrics"/.exec(log)?.[1]
  if (url === undefined) throw new Error(`no address in ${log}`)
  return url
}

describe('tgi-pool metrics', () => {
  test.for(['SIGTERM', 'SIGINT'] as const)('serves until %s, and exits with 0', async (signal, { stage }) => {
    await stage.client()
    await stage.serve()
    const { url, run } = await start(stage)
    const told = await scrape({ url })
    expect(told.value('tgi_pool_jobs', { pool_id: stage.pool, state: 'active' })).toBe(0)
    expect(told.value('tgi_pool_replica_scrape_success', { pool_id: stage.pool })).toBe(1)
    expect(await health(url, '/readyz')).toMatchObject({ status: 200 })
    run.kill(signal)
    expect(await run.over).toMatchObject({ status: 0, signal: undefined, stdout: '' })
    expect(jsonLines(run.stderr).at(-1)).toMatchObject({ name: 'metrics', signal })
    await expect(fetch(url)).rejects.toThrow()
  })

  test('ends once when Ctrl-C comes twice, as npm delivers it', async ({ stage }) => {
    const { run } = await start(stage)
    run.interruptTwice()
    expect(await run.over).toMatchObject({ status: 0, signal: undefined })
  })

  test('takes port and host from the environment', async ({ stage }) => {
    const port = await freePort()
    const env = { TGI_POOL_METRICS_PORT: String(port), TGI_POOL_METRICS_HOST: '127.0.0.2' }
    const run = stage.start(['metrics'], { env })
    await run.printed('metrics server started', 'stderr')
    expect(jsonLines(run.stderr)[0]).toMatchObject({ url: `http://127.0.0.2:${port}/metrics` })
    run.kill('SIGTERM')
    expect(await run.over).toMatchObject({ status: 0 })
  })

  test('keeps serving while Redis is away, and sees it come back', async ({ stage }) => {
    const redis = await stage.redis()
    const { url, run } = await start(stage, { env: { REDIS_URL: redis.url } })
    process.kill(redis.pid, 'SIGSTOP')
    expect((await scrape({ url })).value('tgi_pool_redis_up')).toBe(0)
    expect(await health(url, '/readyz')).toMatchObject({ status: 503 })
    expect(await health(url, '/livez')).toMatchObject({ status: 200 })
    process.kill(redis.pid, 'SIGCONT')
    await expect.poll(async () => (await scrape({ url })).value('tgi_pool_redis_up')).toBe(1)
    run.kill('SIGTERM')
    expect(await run.over).toMatchObject({ status: 0 })
  })

  test('ends at once when Redis does not answer any more', async ({ stage }) => {
    const redis = await stage.redis()
    const { url, run } = await start(stage, { env: { REDIS_URL: redis.url } })
    process.kill(redis.pid, 'SIGSTOP')
    await scrape({ url })
    run.kill('SIGTERM')
    expect(await run.over).toMatchObject({ status: 0 })
  })

  test('is told that Redis is not there, that the port is taken, or none', async ({ stage }) => {
    const nobody = { REDIS_URL: `redis://127.0.0.1:${await freePort()}` }
    expect(await stage.cli(['metrics', '--port', '0'], { env: nobody })).toMatchObject({
      status: 1,
      stdout: '',
      stderr: expect.stringMatching(/^tgi-pool: REDIS_UNAVAILABLE: .*ECONNREFUSED.*\n$/),
    })
    const { port } = await stage.replica({ port: await freePort() })
    expect(await stage.cli(['metrics', '--port', String(port)])).toMatchObject({
      status: 2,
      stdout: '',
      stderr: `tgi-pool: CONFIG: cannot listen on 127.0.0.1:${port}: the port is in use (EADDRINUSE); choose another with --port or TGI_POOL_METRICS_PORT (0 picks a free one), or stop the process that uses it\n`,
    })
    expect(await stage.cli(['metrics', '--port', '70000'])).toMatchObject({
      status: 2,
      stderr: expect.stringMatching(/--port .*'70000'.*from 0 to 65535/),
    })
  })

  test('keeps passwords and keys to itself', async ({ stage }) => {
    await stage.client()
    await stage.worker(await stage.replica({ apiKey: 'xylophonequartz' }))
    const { url, run } = await start(stage, { env: { TGI_API_KEY: 'xylophonequartz', LOG_LEVEL: 'trace' } })
    const told = await scrape({ url })
    run.kill('SIGTERM')
    const { stderr } = await run.over
    expect(told.text + stderr).not.toContain('xylophonequartz')
  })
})

test('workers/metrics.ts is the same, everything from the environment', async ({ stage }) => {
  await stage.client()
  const script = fileURLToPath(new URL('../../workers/metrics.ts', import.meta.url))
  const env = { PATH: process.env['PATH'], REDIS_URL: stage.redisUrl, TGI_POOL_METRICS_PORT: '0' }
  const child = spawn(process.execPath, [script], { env, stdio: ['ignore', 'ignore', 'pipe'] })
  stage.afterwards(() => child.kill('SIGKILL'))
  let log = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (log += text))
  const ended = new Promise((resolve) => child.once('exit', resolve))
  await expect.poll(() => log, { timeout: 30_000 }).toContain('metrics server started')
  const told = await scrape({ url: urlIn(log) })
  expect(told.value('tgi_pool_read_success', { pool_id: stage.pool })).toBe(1)
  child.kill('SIGTERM')
  expect(await ended).toBe(0)
})

import { writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect } from 'vitest'
import { jsonLines } from '../cli/run-cli.ts'
import type { CliRun } from '../cli/run-cli.ts'
import { test } from '../cli/stage.ts'
import { call, post } from './calls.ts'
import { openEvents } from './sse-client.ts'

async function urlOf(run: CliRun): Promise<string> {
  await run.printed('gateway started', 'stderr')
  return /"url":"([^"]+)"/.exec(run.stderr)?.[1] ?? ''
}

describe('tgi-pool gateway', () => {
  test('serves until SIGTERM, ends its streams after an event, and logs one line a request', async ({
    stage,
  }) => {
    await stage.serve({ tokensPerSecond: 50 })
    const run = stage.start(['gateway'], { env: { TGI_POOL_GATEWAY_PORT: '0' } })
    const url = await urlOf(run)
    const job = { pool: stage.pool, inputs: 'secret words', parameters: { max_new_tokens: 4000 } }
    const { json } = await post(`${url}/v1/jobs`, job)
    const stream = await openEvents(`${url}${String(json['events'])}`)
    await expect.poll(() => stream.events.length).toBeGreaterThan(4)
    run.kill('SIGTERM')
    expect(await run.over).toMatchObject({ status: 0, stdout: '' })
    expect(await stream.ended).toBe(true)
    const lines = jsonLines(run.stderr) as Record<string, unknown>[]
    expect(lines.map((line) => line['msg'])).toEqual([
      'gateway started',
      'request answered',
      'stopping; signal again to close streams at once',
      'request answered',
      'gateway stopped',
    ])
    expect(run.stderr).not.toContain('secret')
    await (await stage.client()).cancel(String(json['job_id']))
  })

  test('waits for a request that is under way, and cuts it on a second signal', async ({ stage }) => {
    const run = stage.start(['gateway', '--port', '0', '--grace-ms', '60000'])
    const { port } = new URL(await urlOf(run))
    const socket = connect(Number(port), '127.0.0.1')
    socket.on('error', () => undefined)
    stage.afterwards(() => socket.destroy())
    const head = 'POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n'
    socket.write(`${head}Content-Length: 100\r\nExpect: 100-continue\r\n\r\n`)
    // That it was told to go on says that the request is under way.
    await new Promise((resolve) => socket.once('data', resolve))
    run.kill('SIGTERM')
    await run.printed('stopping', 'stderr')
    await sleep(700)
    expect(run.isOver).toBe(false)
    run.kill('SIGTERM')
    await run.printed('closing streams at once', 'stderr')
    expect((await run.over).status).toBe(0)
  })

  test('reads its keys again on SIGHUP', async ({ stage }) => {
    const file = join(stage.dir, 'bearer')
    await writeFile(file, 'first-key-of-sixteen')
    const run = stage.start(['gateway', '--port', '0', '--host', '0.0.0.0', '--bearer-file', file])
    const url = (await urlOf(run)).replace('0.0.0.0', '127.0.0.1')
    const status = async (key: string) =>
      (await call(`${url}/v1/pools`, { headers: { Authorization: `Bearer ${key}` } })).status
    expect(await status('first-key-of-sixteen')).toBe(200)
    await writeFile(file, 'second-key-of-sixteen')
    run.kill('SIGHUP')
    await run.printed('bearer keys reloaded', 'stderr')
    await expect.poll(() => status('second-key-of-sixteen')).toBe(200)
    expect(await status('first-key-of-sixteen')).toBe(401)
    run.kill('SIGTERM')
    expect((await run.over).status).toBe(0)
  })

  test.for([
    [['--host', '0.0.0.0'], 'TGI_POOL_BEARER_FILE'],
    [['--bearer-file', '/nowhere/bearer'], '/nowhere/bearer'],
    [['--cors-origins', '*'], 'CORS origins'],
    [['--port', '70000'], '--port'],
  ] as const)('refuses %j', async ([args, said], { stage }) => {
    const { status, stderr } = await stage.cli(['gateway', '--port', '0', ...args])
    expect([status, stderr]).toEqual([2, expect.stringContaining(said)])
  })

  test('refuses a port that is taken', async ({ stage }) => {
    const first = stage.start(['gateway', '--port', '0'])
    const port = new URL(await urlOf(first)).port
    const { status, stderr } = await stage.cli(['gateway', '--port', port])
    expect([status, stderr]).toEqual([
      2,
      `tgi-pool: CONFIG: cannot listen on 127.0.0.1:${port}: the port is in use (EADDRINUSE); choose another with --port or TGI_POOL_GATEWAY_PORT (0 picks a free one), or stop the process that uses it\n`,
    ])
    first.kill('SIGTERM')
    expect((await first.over).status).toBe(0)
  })

  test('says so where Redis is not there', async ({ stage }) => {
    const { status, stderr } = await stage.cli(['gateway', '--port', '0', '--redis', 'redis://127.0.0.1:1'])
    expect([status, stderr]).toEqual([1, expect.stringContaining('REDIS_UNAVAILABLE')])
  })
})

import { describe, expect } from 'vitest'
import packageJson from '../../package.json' with { type: 'json' }
import { jsonLines } from './run-cli.ts'
import { test } from './stage.ts'

describe.concurrent('three terminals', () => {
  test('a simulator, a worker and a prompt: the text comes, and SIGTERM ends both with 0', async ({
    stage,
  }) => {
    const simulator = stage.start(['simulator', '--port', '0', '--tokens-per-second', '200'])
    await simulator.printed('Ctrl-C stops it', 'stderr')
    const url = /http:\/\/127\.0\.0\.1:\d+/.exec(simulator.stderr)?.[0] ?? ''
    const worker = stage.start(['worker', '--replica', url, '--slots', '4'])
    await worker.printed('replica is ready', 'stderr')

    const generate = await stage.cli(['generate', 'hello', '--max-new-tokens', '12'])
    expect(generate).toMatchObject({ status: 0, stderr: '' })
    expect(generate.stdout.trim().split(/\s+/).length).toBeGreaterThan(5)
    expect(generate.stdout.endsWith('\n')).toBe(true)

    worker.kill('SIGTERM')
    simulator.kill('SIGTERM')
    expect(await worker.over).toMatchObject({ status: 0, stdout: '' })
    expect(await simulator.over).toMatchObject({ status: 0, stdout: '' })
    expect(await (await stage.client()).replicas()).toEqual([])
    await expect(fetch(url)).rejects.toThrow('fetch failed')
  })

  test('a worker logs one JSON line a step on a pipe, and never the prompt or the text', async ({
    stage,
  }) => {
    const replica = await stage.replica()
    const worker = stage.start(['worker', '--replica', replica.url], { env: { LOG_LEVEL: 'trace' } })
    await worker.printed('replica is ready', 'stderr')
    const { stdout } = await stage.cli(['generate', 'XYZZY the prompt', '--max-new-tokens', '9'])
    await worker.printed('job ended', 'stderr')
    worker.kill('SIGINT')
    const { status, stderr } = await worker.over
    expect(status).toBe(0)
    for (const line of jsonLines(stderr))
      expect(line).toMatchObject({ level: expect.any(String), msg: expect.any(String) })
    expect(stderr).not.toContain('XYZZY')
    expect(stderr).not.toContain(stdout.trim())
  })

  test('a worker that is busy finishes its job before it obeys SIGTERM', async ({ stage }) => {
    const replica = await stage.replica({ tokensPerSecond: 100 })
    const worker = stage.start(['worker', '--replica', replica.url, '--grace-ms', '10000'])
    await worker.printed('replica is ready', 'stderr')
    const generate = stage.start(['generate', 'hello', '--max-new-tokens', '60'])
    await generate.printed(' ')
    worker.kill('SIGTERM')
    expect(await generate.over).toMatchObject({ status: 0, stderr: '' })
    expect(await worker.over).toMatchObject({ status: 0 })
    expect(replica.seen.requests).toMatchObject([{ outcome: 'finished', tokens: 60 }])
  })

  test('a second SIGTERM half a second later does not wait for the jobs', async ({ stage }) => {
    const replica = await stage.replica({ tokensPerSecond: 20 })
    const worker = stage.start(['worker', '--replica', replica.url, '--grace-ms', '60000'])
    await worker.printed('replica is ready', 'stderr')
    const generate = stage.start(['generate', 'hello', '--max-new-tokens', '1000'])
    await generate.printed(' ')
    worker.kill('SIGTERM')
    await worker.printed('draining', 'stderr')
    // Not an event: what tells two wishes from one is the time between them.
    setTimeout(() => worker.kill('SIGTERM'), 700)
    expect(await worker.over).toMatchObject({
      status: 0,
      stderr: expect.stringContaining('handing back at once'),
    })
    generate.kill('SIGINT')
    await generate.over
    expect(replica.seen.requests).toMatchObject([{ outcome: 'aborted' }])
  })
})

describe.concurrent('help', () => {
  const VERBS: readonly (readonly [string, readonly string[]])[] = [
    ['demo', ['REDIS_URL']],
    ['simulator', []],
    [
      'worker',
      [
        'TGI_POOL',
        'REDIS_URL',
        'TGI_REPLICA',
        'TGI_REPLICA_ID',
        'TGI_POOL_SLOTS',
        'TGI_POOL_GRACE_MS',
        'TGI_API_KEY',
        'TGI_API_KEY_FILE',
        'LOG_LEVEL',
      ],
    ],
    ['enqueue', ['TGI_POOL', 'REDIS_URL', 'TGI_POOL_PREFIX']],
    ['events', ['TGI_POOL', 'REDIS_URL', 'TGI_POOL_PREFIX']],
    ['generate', ['TGI_POOL', 'REDIS_URL', 'TGI_POOL_PREFIX']],
    ['results', ['TGI_POOL', 'REDIS_URL', 'TGI_POOL_PREFIX']],
    ['wait', ['TGI_POOL', 'REDIS_URL', 'TGI_POOL_PREFIX']],
    ['cancel', ['TGI_POOL', 'REDIS_URL', 'TGI_POOL_PREFIX']],
    ['job', ['TGI_POOL', 'REDIS_URL', 'TGI_POOL_PREFIX']],
    ['replicas', ['TGI_POOL', 'REDIS_URL', 'TGI_POOL_PREFIX']],
    ['pool', []],
    ['pool create', ['TGI_POOL', 'REDIS_URL', 'TGI_POOL_PREFIX']],
    ['pool set', ['TGI_POOL', 'REDIS_URL', 'TGI_POOL_PREFIX']],
    ['pool show', ['TGI_POOL', 'REDIS_URL', 'TGI_POOL_PREFIX']],
    ['pool list', ['REDIS_URL', 'TGI_POOL_PREFIX']],
    ['pool delete', ['TGI_POOL', 'REDIS_URL', 'TGI_POOL_PREFIX']],
  ]

  test('of every verb goes to stdout, exits 0 and names the environment variables', async ({ stage }) => {
    const results = await Promise.all(VERBS.map(([verb]) => stage.cli([...verb.split(' '), '--help'])))
    for (const [index, [verb, variables]] of VERBS.entries()) {
      expect(results[index], verb).toMatchObject({ status: 0, stderr: '' })
      for (const variable of variables) expect(results[index]?.stdout, verb).toContain(variable)
    }
  })

  test('lists every verb; --version is that of the package', async ({ stage }) => {
    const [help, version] = await Promise.all([stage.cli(['--help']), stage.cli(['--version'])])
    expect(help).toMatchObject({ status: 0, stderr: '' })
    for (const [verb] of VERBS) expect(help.stdout).toMatch(new RegExp(`^ {2}${verb.split(' ')[0]}\\b`, 'm'))
    expect(version).toEqual({ status: 0, signal: undefined, stdout: `${packageJson.version}\n`, stderr: '' })
  })
})

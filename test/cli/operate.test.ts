import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { describe, expect } from 'vitest'
import { freePort } from '../../src/redis/server.ts'
import { SEAL_ID } from '../../src/contract/stream-id.ts'
import { replicaEntrySchema } from '../../src/contract/replica-entry.ts'
import { createManualClock } from '../support/manual-clock.ts'
import { jsonLines } from './run-cli.ts'
import { test } from './stage.ts'

describe.concurrent('cancel', () => {
  test('ends a running job, with its reason, and says so again of one that is over', async ({
    stage,
    expect: here,
  }) => {
    const client = await stage.client()
    const replica = await stage.serve({ clock: createManualClock(), tokensPerSecond: 50 })
    await stage.cli(['enqueue', 'hello', '--max-new-tokens', '1000', '--job-id', 'j'])
    await here.poll(async () => (await client.job('j')).tokens_out).toBeGreaterThan(0)
    const cancel = await stage.cli(['cancel', 'j', '--reason', 'seen enough'])
    expect(cancel).toEqual({ status: 0, signal: undefined, stdout: 'job j cancelled\n', stderr: '' })
    const { error, last_id: lastId } = await client.job('j')
    expect(error).toMatchObject({ code: 'CANCELLED', message: expect.stringContaining('seen enough') })
    expect(lastId).toBe(SEAL_ID)
    await here.poll(() => replica.seen.requests).toMatchObject([{ outcome: 'aborted' }])
    const [again, json] = await Promise.all([
      stage.cli(['cancel', 'j']),
      stage.cli(['cancel', 'j', '--json']),
    ])
    expect(again).toMatchObject({ status: 0, stdout: 'job j had already ended\n', stderr: '' })
    expect(jsonLines(json.stdout)).toEqual([{ job_id: 'j', outcome: 'already_over' }])
  })

  test('of an unknown job is one clear error, exit 1', async ({ stage }) => {
    await stage.client()
    const result = await stage.cli(['cancel', 'nobody'])
    expect(result).toMatchObject({ status: 1, stdout: '' })
    expect(result.stderr).toMatch(/^tgi-pool: UNKNOWN_JOB: no job nobody in pool [^\n]+\n$/)
  })
})

describe.concurrent('job', () => {
  test('tells where a job stands, for people and as JSON', async ({ stage }) => {
    const client = await stage.client()
    await stage.cli(['enqueue', 'hello', '--max-new-tokens', '3', '--job-id', 'j'])
    const waiting = await stage.cli(['job', 'j'])
    expect(waiting).toMatchObject({ status: 0, stderr: '' })
    expect(waiting.stdout).toMatch(/^state +queued\n/)
    await stage.serve()
    await client.result('j')
    const [plain, json] = await Promise.all([stage.cli(['job', 'j']), stage.cli(['job', 'j', '--json'])])
    expect(plain).toMatchObject({ status: 0, stderr: '' })
    expect(plain.stdout).toMatch(/^state +ended\nattempts +1\ntokens +3\n/)
    expect(plain.stdout).toMatch(/^ended with +length$/m)
    expect(json).toMatchObject({ status: 0, stderr: '' })
    expect(jsonLines(json.stdout)).toEqual([{ ...(await client.job('j')) }])
  })

  test('unknown is one clear error, exit 1', async ({ stage }) => {
    await stage.client()
    expect(await stage.cli(['job', 'nobody'])).toMatchObject({
      status: 1,
      stdout: '',
      stderr: expect.stringMatching(/^tgi-pool: UNKNOWN_JOB: no job nobody [^\n]+\n$/),
    })
  })
})

describe.concurrent('pool', () => {
  test('is made, shown, changed and listed', async ({ stage }) => {
    const create = await stage.cli(['pool', 'create', 'max_queued=5', '--json'])
    expect(create).toMatchObject({ status: 0, stderr: '' })
    expect(jsonLines(create.stdout)).toMatchObject([{ max_queued: 5, deadline_ms: 600_000 }])
    const again = await stage.cli(['pool', 'create', 'max_queued=6', '--json'])
    expect(jsonLines(again.stdout)).toMatchObject([{ max_queued: 5 }])
    const set = await stage.cli(['pool', 'set', 'max_queued=7', 'pin={"model_id":"m"}'])
    expect(set).toMatchObject({ status: 0, stderr: '' })
    expect(set.stdout).toMatch(/^max_queued +7$/m)
    expect(set.stdout).toMatch(/^pin +\{"model_id":"m"\}$/m)
    const [show, list, json] = await Promise.all([
      stage.cli(['pool', 'show']),
      stage.cli(['pool', 'list']),
      stage.cli(['pool', 'list', '--json']),
    ])
    expect(show).toEqual(set)
    expect(list.stdout.split('\n')).toContain(stage.pool)
    expect(jsonLines(json.stdout)).toEqual([expect.any(Array)])
    expect(jsonLines(json.stdout)[0]).toContainEqual({
      pool_id: stage.pool,
      config: expect.objectContaining({ max_queued: 7 }),
    })
  })

  test('refuses what is no setting or no value for it, and changes nothing', async ({ stage }) => {
    const client = await stage.client()
    const before = await client.config()
    const cases: readonly (readonly [readonly string[], RegExp])[] = [
      [['max_qeued=5'], /unknown field "max_qeued"/],
      [['max_queued'], /expected setting=value, got "max_queued"/],
      [['max_queued=lots'], /max_queued: expected number, got /],
      [['max_queued=0'], /max_queued: .*>0, got 0/],
      [['max_attempts=9', 'retention_ms=1.5'], /retention_ms: expected int, got /],
      [['metrics_interval_ms=10'], /metrics_interval_ms: expected 0 \(off\) or at least 500, got 10/],
      [['pin={"sha":"x"}'], /pin: unknown field "sha"/],
    ]
    const results = await Promise.all(cases.map(([args]) => stage.cli(['pool', 'set', ...args])))
    for (const [index, [, message]] of cases.entries()) {
      expect(results[index]).toMatchObject({ status: 2, stdout: '', stderr: expect.stringMatching(message) })
    }
    expect(await client.config()).toEqual(before)
  })

  test('that nobody made cannot be shown or changed', async ({ stage }) => {
    const results = await Promise.all([
      stage.cli(['pool', 'show']),
      stage.cli(['pool', 'set', 'max_queued=1']),
    ])
    for (const result of results) {
      expect(result).toMatchObject({ status: 1, stdout: '' })
      expect(result.stderr).toContain(`POOL_UNAVAILABLE: no pool "${stage.pool}"`)
    }
  })
})

describe.concurrent('replicas', () => {
  test('are one JSON array of registry entries, or a table with a row each', async ({ stage }) => {
    const replica = await stage.serve()
    const [plain, json] = await Promise.all([stage.cli(['replicas']), stage.cli(['replicas', '--json'])])
    expect(plain).toMatchObject({ status: 0, stderr: '' })
    const [head, row, end] = plain.stdout.split('\n')
    expect(head).toMatch(/^REPLICA +STATE +BUSY +ENGINE +MODEL +URL$/)
    expect(row).toMatch(new RegExp(`^127\\.0\\.0\\.1-${replica.port} +ready +0/8 .* ${replica.url}$`))
    expect(end).toBe('')
    expect(json).toMatchObject({ status: 0, stderr: '' })
    const [entries] = jsonLines(json.stdout)
    expect(replicaEntrySchema.array().parse(entries)).toMatchObject([{ state: 'ready', url: replica.url }])
  })

  test('that are none are said to be none, or an empty array', async ({ stage }) => {
    await stage.client()
    const [plain, json] = await Promise.all([stage.cli(['replicas']), stage.cli(['replicas', '--json'])])
    expect(plain).toMatchObject({ status: 0, stdout: 'no replicas; start one with: tgi-pool worker\n' })
    expect(json).toMatchObject({ status: 0, stdout: '[]\n', stderr: '' })
  })

  test('that are no TGI keep their worker up, which logs why, and are listed with why', async ({ stage }) => {
    const server = createServer((_, response) => response.writeHead(404).end('not here'))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    stage.afterwards(() => server.close().closeAllConnections())
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    const worker = stage.start(['worker', '--replica', url])
    await worker.printed('replica is unhealthy', 'stderr')
    expect(worker.stderr).toContain(`${url} lacks a route that TGI has (HTTP 404)`)
    const { stdout } = await stage.cli(['replicas'])
    expect(stdout).toMatch(/ unhealthy +0\/0 .*lacks a route that TGI has \(HTTP 404\)\n/)
    expect(worker.isOver).toBe(false)
    worker.kill('SIGTERM')
    expect(await worker.over).toMatchObject({ status: 0 })
  })

  test('that are dead are listed as such, and serve as soon as they are there', async ({ stage }) => {
    const port = await freePort()
    const worker = stage.start(['worker', '--replica', `http://127.0.0.1:${port}`])
    await worker.printed('ECONNREFUSED', 'stderr')
    const { stdout } = await stage.cli(['replicas', '--json'])
    expect(jsonLines(stdout)).toMatchObject([
      [{ state: 'unhealthy', versions: null, reason: expect.stringContaining('ECONNREFUSED') }],
    ])
    await stage.replica({ port })
    await worker.printed('replica is ready', 'stderr')
    expect(await stage.cli(['generate', 'hello', '--max-new-tokens', '2'])).toMatchObject({ status: 0 })
    worker.kill('SIGTERM')
    await worker.over
  })
})

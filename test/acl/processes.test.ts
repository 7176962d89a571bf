import { expect, onTestFinished } from 'vitest'
import { startCli } from '../cli/run-cli.ts'
import type { CliRun } from '../cli/run-cli.ts'
import { test } from './stage.ts'
import type { AclRedis, Role } from './stage.ts'

/** A command as a role; ended after the test. */
function start(acl: AclRedis, role: Role, args: readonly string[]): CliRun {
  const run = startCli(args, { env: { REDIS_URL: acl.urlOf(role), TGI_POOL: 'p' } })
  onTestFinished(async () => {
    run.kill('SIGTERM')
    await run.over
  })
  return run
}

/** Where a process that serves says it listens. */
async function urlOf(run: CliRun): Promise<string> {
  await expect.poll(() => run.stderr).toMatch(/http:\/\/127\.0\.0\.1:\d+/)
  return /http:\/\/127\.0\.0\.1:\d+/.exec(run.stderr)?.[0] ?? ''
}

test('every process does its work with its own user: worker, gateway, metrics and the command', async ({
  acl,
}) => {
  const simulator = start(acl, 'worker', ['simulator', '--port', '0', '--tokens-per-second', '0'])
  const early = await start(acl, 'worker', ['worker', '--replica', await urlOf(simulator)]).over
  expect(early).toMatchObject({ status: 1, stdout: '' })
  expect(early.stderr).toMatch(/no pool "p".*may not create pools.*tgi-pool pool create --pool p/)
  expect(await start(acl, 'operator', ['pool', 'create']).over).toMatchObject({ status: 0 })
  await acl.refused()
  const worker = start(acl, 'worker', ['worker', '--replica', await urlOf(simulator)])
  await worker.printed('worker started', 'stderr')
  const gateway = await urlOf(start(acl, 'gateway', ['gateway', '--port', '0']))
  const metrics = await urlOf(start(acl, 'metrics', ['metrics', '--port', '0']))

  const body = JSON.stringify({ pool: 'p', inputs: 'hello', parameters: { max_new_tokens: 4 } })
  const headers = { 'content-type': 'application/json' }
  const accepted = await fetch(`${gateway}/v1/jobs`, { method: 'POST', body, headers })
  expect(accepted.status).toBe(202)
  const { job_id: id } = (await accepted.json()) as { job_id: string }
  const events = await (await fetch(`${gateway}/v1/jobs/${id}/events?pool=p`)).text()
  expect(events).toContain('event: end')
  for (const url of [gateway, metrics]) expect((await fetch(`${url}/readyz`)).status).toBe(200)

  const waiting = await start(acl, 'producer', ['enqueue', 'hello', '--deadline-ms', '60000']).over
  expect(waiting).toMatchObject({ status: 0 })
  const scraped = await (await fetch(`${metrics}/metrics`)).text()
  expect(scraped).toContain('pool_id="p"')
  const read = await start(acl, 'consumer', ['events', id]).over
  expect(read).toMatchObject({ status: 0 })
  const [{ replica_id: replica } = { replica_id: '' }] = JSON.parse(
    (await start(acl, 'operator', ['replicas', '--json']).over).stdout,
  ) as { replica_id: string }[]
  for (const verb of ['drain', 'undrain'])
    expect(await start(acl, 'operator', [verb, replica]).over).toMatchObject({ status: 0 })
  for (const verb of [['pool', 'list'], ['pool', 'show'], ['replicas'], ['job', id], ['forget', id]])
    expect(await start(acl, 'operator', verb).over).toMatchObject({ status: 0 })
  // This server keeps nothing, which is a finding of its own.
  const { stdout } = await start(acl, 'operator', ['doctor', '--json']).over
  expect(JSON.parse(stdout)).toMatchObject({ redis: expect.anything(), pools: expect.anything() })

  // A consumer tries to keep deadlines, too; others do.
  const refused = (await acl.refused()).filter((line) => line !== 'consumer command zrangebyscore')
  expect(refused).toEqual([])
})

test('jobs that wait: the same id again, a cancel, a look, and what the gateway forgets leave nothing in the queue', async ({
  acl,
}) => {
  expect(await start(acl, 'operator', ['pool', 'create']).over).toMatchObject({ status: 0 })
  await acl.admin.hset('tgi-pool:{p}:drains', 'r1', JSON.stringify({ since: Date.now() }))
  const replica = await urlOf(start(acl, 'worker', ['simulator', '--port', '0', '--tokens-per-second', '50']))
  const worker = start(acl, 'worker', ['worker', '--replica', replica, '--replica-id', 'r1'])
  await worker.printed('worker started', 'stderr')
  const gateway = await urlOf(start(acl, 'gateway', ['gateway', '--port', '0']))
  const enqueue = (id: string, ...more: string[]) =>
    start(acl, 'producer', ['enqueue', 'hello', '--job-id', id, '--max-new-tokens', '2000', ...more]).over
  const kept = async () => (await acl.admin.keys('tgi-pool:{p}:jobs:waiting-*')).length

  for (const _ of [1, 2]) expect(await enqueue('waiting-1')).toMatchObject({ status: 0, stderr: '' })
  expect(await enqueue('waiting-1', '--seed', '1')).toMatchObject({ status: 1, stdout: '' })
  await enqueue('waiting-2')
  expect(await start(acl, 'consumer', ['job', 'waiting-1']).over).toMatchObject({
    status: 0,
    stdout: expect.stringMatching(/state +queued/),
  })
  expect(await kept()).toBe(2)
  const cancelled = await start(acl, 'producer', ['cancel', 'waiting-1']).over
  expect(cancelled).toMatchObject({ status: 0, stderr: '' })
  await expect.poll(kept).toBe(1)
  expect((await fetch(`${gateway}/v1/jobs/waiting-2`, { method: 'DELETE' })).status).toBe(204)
  expect(await kept()).toBe(0)
  expect(await acl.admin.hgetall('tgi-pool:{p}:bytes')).toEqual({ ':total': '0' })

  expect(await start(acl, 'operator', ['undrain', 'r1']).over).toMatchObject({ status: 0 })
  await enqueue('running')
  const reading = start(acl, 'consumer', ['events', 'running'])
  await reading.printed('\ttoken\t')
  expect(await start(acl, 'producer', ['cancel', 'running']).over).toMatchObject({ status: 0 })
  expect((await reading.over).stdout).toContain('CANCELLED')
  const expected = /^producer key tgi-pool:\{p\}:jobs:|^consumer command (zrangebyscore|client\|unblock)$/
  expect((await acl.refused()).filter((line) => !expected.test(line))).toEqual([])
})

test('a role that does the work of another is told so in one line', async ({ acl }) => {
  expect(await start(acl, 'operator', ['pool', 'create']).over).toMatchObject({ status: 0 })
  const run = await start(acl, 'consumer', ['enqueue', 'hello']).over
  expect(run).toMatchObject({ status: 1, stdout: '' })
  expect(run.stderr).toMatch(/^tgi-pool: [^\n]*does not allow its user[^\n]*\n$/)
  expect(run.stderr).not.toContain('hello')
})

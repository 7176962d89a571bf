import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { expect, onTestFinished } from 'vitest'
import { runBatch } from '../../src/batch/run-batch.ts'
import type { BatchProgress } from '../../src/batch/batch-options.ts'
import { openPool } from '../../src/client/pools.ts'
import { startSimulator } from '../../src/simulator/server.ts'
import { startWorker } from '../../src/worker/worker.ts'
import { test } from './stage.ts'
import type { AclRedis, Role } from './stage.ts'

const POOL = 'p'

const nothing = () => undefined

/** Runs a batch of three jobs as a role. */
async function runAs(
  acl: AclRedis,
  role: Role,
): Promise<BatchProgress & { readonly kept: number; readonly text: string }> {
  const dir = await mkdtemp(join(tmpdir(), 'tgi-pool-acl-'))
  onTestFinished(() => rm(dir, { recursive: true }))
  const [input, out] = [join(dir, 'jobs.jsonl'), join(dir, 'answers.jsonl')]
  await writeFile(input, '{"inputs":"hello","parameters":{"max_new_tokens":2}}\n'.repeat(3))
  let kept = 0
  const report = {
    onStart: nothing,
    onFull: nothing,
    onAway: nothing,
    onBack: nothing,
    onKept: () => (kept += 1),
  }
  const { signal } = new AbortController()
  const redisUrl = acl.urlOf(role)
  const end = await runBatch({
    redisUrl,
    pool: POOL,
    prefix: 'tgi-pool',
    input,
    out,
    retryFailed: false,
    signal,
    report,
  })
  return { ...end, kept, text: await readFile(out, 'utf8') }
}

test('a gateway and an operator run batches and erase their jobs, and others are told what they lack', async ({
  acl,
}) => {
  const operator = await openPool({ redisUrl: acl.urlOf('operator'), pool: POOL })
  onTestFinished(() => operator.close())
  await operator.create()
  const replica = await startSimulator({ tokensPerSecond: 0, prefillMs: 0 })
  onTestFinished(() => replica.stop())
  const worker = await startWorker({
    redisUrl: acl.urlOf('worker'),
    pool: POOL,
    replicaUrl: replica.url,
    logger: pino({ level: 'silent' }),
  })
  onTestFinished(() => worker.stop(0))
  for (const role of ['gateway', 'operator'] as const) {
    expect(await runAs(acl, role), role).toMatchObject({ answered: 3, failed: 0, kept: 0 })
    expect(await acl.admin.keys(`tgi-pool:{${POOL}}:events:*`)).toEqual([])
  }
  for (const role of ['producer', 'consumer', 'metrics'] as const) {
    await expect(runAs(acl, role), role).rejects.toMatchObject({
      kind: 'REDIS_UNAVAILABLE',
      message: expect.stringMatching(/does not allow its user/),
    })
  }
})

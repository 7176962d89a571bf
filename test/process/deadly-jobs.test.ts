import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { describe, expect } from 'vitest'
import { DEAR_BODIES } from '../contract/many-values.ts'
import { collect, endOf, errorOf, only } from '../support/job-log.ts'
import { KEYS, POOL, test } from '../support/lab.ts'
import { createManualClock } from '../support/manual-clock.ts'
import { putRawJob, rawJobKey } from '../support/raw-job.ts'

const SCRIPT = fileURLToPath(new URL('dying-child.ts', import.meta.url))
const LOCK_MS = 1000

/** A process that takes one job and dies of it. */
async function dieOf(redisUrl: string): Promise<void> {
  const child = spawn(process.execPath, [SCRIPT, JSON.stringify({ redisUrl, pool: POOL, lockMs: LOCK_MS })], {
    stdio: 'ignore',
  })
  const [, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null]
  expect(signal).toBe('SIGKILL')
}

describe('a job whose workers die before they begin', () => {
  test('ends after max_attempts of them, and no worker looks at it again', async ({ lab }) => {
    const client = await lab.client({ max_attempts: 3 })
    const { job_id: jobId } = await client.enqueue({ inputs: 'Deadly', parameters: { max_new_tokens: 2 } })
    for (let death = 0; death < 3; death += 1) await dieOf(lab.redisUrl)
    const replica = await lab.replica()
    await lab.worker(replica, { stalledIntervalMs: 200 })
    const events = await collect(client, jobId)
    expect(errorOf(events)).toMatchObject({
      code: 'REPLICA_EXHAUSTED',
      message: '3 attempts failed before the first token; last: its worker died',
    })
    expect(only(events, 'started')).toEqual([])
    expect(replica.seen.requests).toEqual([])
    await expect.poll(() => lab.redis.exists(rawJobKey(KEYS, jobId))).toBe(0)
    expect(await client.waiting()).toEqual({ interactive: 0, batch: 0, delayed: 0 })
  })

  test('runs after fewer deaths, and the attempts that are left are fewer', async ({ lab }) => {
    const client = await lab.client({ max_attempts: 3 })
    const { job_id: jobId } = await client.enqueue({ inputs: 'Deadly', parameters: { max_new_tokens: 2 } })
    for (let death = 0; death < 2; death += 1) await dieOf(lab.redisUrl)
    await lab.worker(await lab.replica({ faults: [{ kind: 'crash' }] }), { stalledIntervalMs: 200 })
    const events = await collect(client, jobId)
    expect(errorOf(events)).toMatchObject({
      code: 'REPLICA_EXHAUSTED',
      message: expect.stringMatching(/^3 attempts failed/),
    })
    expect(only(events, 'started')).toHaveLength(1)
  })

  test('ends also if its producer wrote that it had been handed back a million times', async ({ lab }) => {
    const client = await lab.client({ max_attempts: 3 })
    const data = JSON.stringify({ inputs: 'Deadly', parameters: { max_new_tokens: 2 } })
    const progress = JSON.stringify({ hand_backs: 1_000_000 })
    await putRawJob(lab.redis, KEYS, 'forged', { data, progress, ats: '1000000' })
    await lab.worker(await lab.replica({ faults: [{ kind: 'crash' }] }))
    const events = await collect(client, 'forged')
    expect(errorOf(events)).toMatchObject({
      code: 'REPLICA_EXHAUSTED',
      message: expect.stringMatching(/^3 attempts failed/),
    })
    expect(only(events, 'started')).toHaveLength(3)
  })
})

test('jobs that ran beside one that kills workers end well', async ({ lab }) => {
  const client = await lab.client({ max_attempts: 5 })
  const clock = createManualClock()
  const deadly = 'deadly'
  const innocent = await Promise.all(
    Array.from({ length: 3 }, (_, n) =>
      client.enqueue({ inputs: `Innocent ${n}`, parameters: { max_new_tokens: 5 } }),
    ),
  )
  await client.enqueue({ inputs: 'Deadly', parameters: { max_new_tokens: 5 } }, { jobId: deadly })
  // Its requests never end by themselves; whatever runs beside the deadly job dies with it.
  const stuck = await lab.replica({ clock, prefillMs: 1000 })
  const takes = async () => Number((await lab.redis.hget(rawJobKey(KEYS, deadly), 'ats')) ?? 0)
  const isOver = async () => (await client.job(deadly)).state === 'failed'
  let deaths = 0
  while (!(await isOver()) && deaths < 8) {
    const before = await takes()
    const started = await lab.redis.xlen(KEYS.events(deadly))
    const doomed = await lab.process(stuck, {
      lockMs: LOCK_MS,
      stalledIntervalMs: 200,
      leaseMs: 1000,
      slots: 4,
    })
    const hasBegun = async () =>
      (await isOver()) || (await lab.redis.xlen(KEYS.events(deadly))) > started || undefined
    // What waits for others to end is let through.
    for (;;) {
      if (await hasBegun()) break
      clock.advance(50)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    if (await isOver()) {
      await doomed.end()
      break
    }
    expect(await takes()).toBeGreaterThan(before)
    doomed.kill('SIGKILL')
    await doomed.exited
    deaths += 1
  }
  expect(deaths).toBe(5)
  await lab.worker(await lab.replica(), { stalledIntervalMs: 200 })
  expect(errorOf(await collect(client, deadly)).code).toBe('REPLICA_EXHAUSTED')
  for (const { job_id: jobId } of innocent) endOf(await collect(client, jobId))
})

test('a job that is cheap to write and dear to read leaves its worker to the others', async ({ lab }) => {
  const client = await lab.client()
  await lab.worker(await lab.replica())
  for (const [at, make] of Object.values(DEAR_BODIES).entries()) {
    await putRawJob(lab.redis, KEYS, `dear-${at}`, { data: make(2_600_000) })
    expect(errorOf(await collect(client, `dear-${at}`)).code).toBe('INVALID_PARAMS')
  }
  endOf(
    await collect(client, (await client.enqueue({ inputs: 'x', parameters: { max_new_tokens: 2 } })).job_id),
  )
})

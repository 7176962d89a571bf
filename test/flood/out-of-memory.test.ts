import { setTimeout as sleep } from 'node:timers/promises'
import { Queue } from 'bullmq'
import { expect, onTestFinished, test } from 'vitest'
import type { JobEvent } from '../../src/contract/event.ts'
import { startRedisServer } from '../../src/redis/server.ts'
import { call, post } from '../gateway/calls.ts'
import { openGateway } from '../gateway/stage.ts'
import { collect, endOf, expectSound, only, readLog, tokensIn } from '../support/job-log.ts'
import { KEYS, POOL } from '../support/lab.ts'
import type { Lab } from '../support/lab.ts'
import { createManualClock } from '../support/manual-clock.ts'
import { labOn } from '../support/own-redis.ts'

const MAX_MEMORY = '32mb'
/** How long everybody floods while Redis is full (ms). */
const FLOOD_MS = 8000
const BODY = { inputs: 'flood '.repeat(10_000), parameters: { max_new_tokens: 3 } }

/** Stores values of other programs until Redis takes not even the smallest, again and again until `signal` is aborted. */
async function fillUp({ redis }: Lab, signal: AbortSignal): Promise<number> {
  let refused = 0
  for (let n = 0; !signal.aborted;) {
    const before = refused
    for (const bytes of [100_000, 5000, 100]) {
      while (
        await redis.set(`another-${n}`, 'x'.repeat(bytes)).then(
          () => true,
          () => false,
        )
      )
        n += 1
      refused += 1
    }
    if (refused > before) await sleep(20)
  }
  return refused
}

async function isFull({ redis }: Lab): Promise<boolean> {
  return redis.set('is-it', 'full').then(
    () => false,
    () => true,
  )
}

test('a Redis that is flooded from everywhere loses no job, and each has one end', async () => {
  const server = await startRedisServer({ args: ['--maxmemory', MAX_MEMORY] })
  onTestFinished(() => server.stop())
  const lab = await labOn(server.url)
  const client = await lab.client()
  const gateway = await openGateway(server.url)
  onTestFinished(() => gateway.stop())
  const plain = new Queue('jobs', { connection: { url: server.url }, prefix: KEYS.queuePrefix })
  plain.on('error', () => undefined)
  onTestFinished(() => plain.close())

  // Two replicas: one whose jobs run all the time, one that works off what waits.
  const clock = createManualClock()
  const slow = await lab.replica({ clock, tokensPerSecond: 100, maxTotalTokens: 1e6 })
  const worker = await lab.worker(slow, { slots: 6, lockMs: 1000, leaseMs: 1000, replicaId: 'slow' })
  const running: string[] = []
  for (let n = 0; n < 6; n += 1) {
    const { job_id: id } = await client.enqueue({ inputs: 'run', parameters: { max_new_tokens: 400 } })
    running.push(id)
    await tokensIn(lab.redis, KEYS, id)
  }
  expect(worker.busy).toBe(6)

  const stop = new AbortController()
  const accepted: string[] = []
  const foreign: string[] = []
  const refused = { gateway: 0, library: 0, plain: 0 }
  async function flood(add: () => Promise<void>): Promise<void> {
    while (!stop.signal.aborted) {
      await add()
      await sleep(5)
    }
  }
  async function addByGateway(): Promise<void> {
    const answer = await post(`${gateway.url}/v1/jobs`, { pool: POOL, ...BODY })
    if (answer.status === 202) return void accepted.push(String(answer.json['job_id']))
    expect([answer.status, answer.headers['retry-after']]).toEqual([429, '1'])
    refused.gateway += 1
  }
  async function addByLibrary(): Promise<void> {
    try {
      accepted.push((await client.enqueue(BODY)).job_id)
    } catch (error) {
      expect(error).toMatchObject({ kind: 'ADMISSION_REJECT', retryAfterMs: 1000 })
      refused.library += 1
    }
  }
  async function addPlain(): Promise<void> {
    try {
      const jobId = `plain-${foreign.length + refused.plain}`
      await plain.add('generate', BODY, { jobId })
      foreign.push(jobId)
    } catch (error) {
      expect(String(error)).toMatch(/OOM/)
      refused.plain += 1
    }
  }
  const flooding = Promise.all([
    ...[addByGateway, addByGateway, addByLibrary, addByLibrary, addPlain].map(flood),
    fillUp(lab, stop.signal),
  ])
  await expect.poll(() => isFull(lab)).toBe(true)

  // Some run on, some are cancelled, some forgotten, while the flood goes on.
  const [first = '', second = '', third = '', fourth = '', ...rest] = running
  await sleep(FLOOD_MS / 2)
  expect(await client.cancel(first)).toBe('cancelled')
  expect((await post(`${gateway.url}/v1/jobs/${second}/cancel`, {})).status).toBe(200)
  await client.forget(third)
  expect((await call(`${gateway.url}/v1/jobs/${fourth}`, { method: 'DELETE' })).status).toBe(204)
  const [waiting = '', erased = ''] = accepted.splice(0, 2)
  expect(await client.cancel(waiting)).toBe('cancelled')
  await client.forget(erased)
  clock.run()
  for (const id of rest) {
    const events = await collect(client, id)
    expect(endOf(events)).toMatchObject({ tokens_out: 400, attempts: 1 })
    expect(only(events, 'started')).toHaveLength(1)
  }
  await sleep(FLOOD_MS / 2)
  stop.abort()
  const [, , , , , full] = await flooding
  expect(full).toBeGreaterThan(0)
  expect(refused.gateway, 'by the gateway').toBeGreaterThan(0)
  expect(refused.library, 'by the library').toBeGreaterThan(0)

  // The other programs go; all that was accepted is worked off by what runs.
  await lab.worker(await lab.replica({ maxTotalTokens: 1e6 }), { slots: 8, replicaId: 'fast' })
  for (const id of [...accepted, ...foreign]) endOf(await collect(client, id))
  for (const key of await lab.redis.keys('another-*')) await lab.redis.unlink(key)
  await expect.poll(() => client.enqueue(BODY, { jobId: 'after' }).catch(() => undefined)).toBeDefined()
  endOf(await collect(client, 'after'))
  await expect.poll(() => client.waiting()).toEqual({ interactive: 0, batch: 0, delayed: 0 })

  const found: JobEvent[][] = []
  for (const key of await lab.redis.keys(KEYS.events('*'))) {
    const events = await readLog(lab.redis, KEYS, key.slice(KEYS.events('').length))
    expectSound(events)
    const last = events.at(-1)
    // A producer was told so, too.
    if (last?.event !== 'error' || last.data.code !== 'ADMISSION_REJECT') found.push(events)
  }
  // Those that were erased are gone; nobody was refused and has a job all the same.
  expect(found).toHaveLength(accepted.length + foreign.length + running.length - 2 + 1 + 1)
  await expect.poll(() => lab.redis.hget(KEYS.bytes, ':total')).toBe('0')
})

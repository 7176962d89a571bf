import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect } from 'vitest'
import type { PoolWorker } from '../../src/worker/worker.ts'
import { collect, endOf, errorOf } from '../support/job-log.ts'
import { test } from '../support/lab.ts'
import type { Lab } from '../support/lab.ts'
import { answer } from '../tgi/frames.ts'
import { serveHttp, startStream } from '../tgi/scripted-server.ts'

/** Longer than two probes that get no answer (3 s each) and the pauses between them. */
const PREFILL_MS = 10_000
const REASON = 'health check is waiting behind a prefill'
/** Two probes of 3 s and what is between them, with time to spare. */
const SILENT = { timeout: 40_000 }

/** A replica whose shard does one thing at a time, as TGI's does: prefills, which no abort shortens, and `/health`. */
async function serveShard(lab: Lab) {
  const simulator = await lab.replica()
  const shard = { busyUntil: 0 }
  async function free(): Promise<void> {
    while (shard.busyUntil > performance.now()) await sleep(20)
  }
  const server = await serveHttp(async (response, request) => {
    if (request.path === '/health') {
      await free()
      response.end()
    } else if (request.path === '/generate_stream') {
      shard.busyUntil = performance.now() + PREFILL_MS
      startStream(response)
      await free()
      response.end(answer([' a', ' b']))
    } else {
      const { method, path, body } = request
      const init = method === 'GET' ? {} : { method, body, headers: { 'content-type': 'application/json' } }
      const forwarded = await fetch(simulator.url + path, init)
      response.writeHead(forwarded.status, { 'content-type': 'application/json' })
      response.end(await forwarded.text())
    }
  })
  return { url: server.url, shard }
}

/** Every state of a worker until a promise is settled. */
async function statesUntil(done: Promise<unknown>, worker: PoolWorker): Promise<Set<string>> {
  const states = new Set<string>()
  const timer = setInterval(() => states.add(worker.state), 20)
  await done.finally(() => clearInterval(timer))
  return states
}

describe('a replica whose health check waits for its shard', () => {
  test('stays ready while a prefill of ours holds it up, and says why', async ({ lab }) => {
    const client = await lab.client()
    const worker = await lab.worker(await serveShard(lab))
    await expect.poll(() => worker.state).toBe('ready')
    const { job_id: jobId } = await client.enqueue({ inputs: 'Long', parameters: { max_new_tokens: 2 } })
    const events = collect(client, jobId)
    const states = statesUntil(events, worker)
    await expect.poll(() => client.replicas(), SILENT).toMatchObject([{ state: 'ready', reason: REASON }])
    expect(endOf(await events)).toMatchObject({ attempts: 1, text: ' a b' })
    expect([...(await states)]).toEqual(['ready'])
    await expect.poll(async () => (await client.replicas())[0]?.reason).toBe(undefined)
  })

  test('stays ready when the job is cancelled in its prefill, which goes on', async ({ lab }) => {
    const client = await lab.client()
    const { url, shard } = await serveShard(lab)
    const worker = await lab.worker({ url })
    await expect.poll(() => worker.state).toBe('ready')
    const { job_id: jobId } = await client.enqueue({ inputs: 'Long', parameters: { max_new_tokens: 2 } })
    await expect.poll(() => shard.busyUntil).toBeGreaterThan(0)
    await client.cancel(jobId)
    errorOf(await collect(client, jobId))
    const answered = (async () => {
      await expect.poll(() => client.replicas(), SILENT).toMatchObject([{ reason: REASON }])
      await expect.poll(async () => (await client.replicas())[0]?.reason, SILENT).toBe(undefined)
    })()
    expect([...(await statesUntil(answered, worker))]).toEqual(['ready'])
  })

  test('is unhealthy when it is silent without a prefill of ours', async ({ lab }) => {
    await lab.client()
    const { url, shard } = await serveShard(lab)
    const worker = await lab.worker({ url })
    await expect.poll(() => worker.state).toBe('ready')
    shard.busyUntil = Infinity
    await expect.poll(() => worker.state, SILENT).toBe('unhealthy')
    shard.busyUntil = 0
    await expect.poll(() => worker.state).toBe('ready')
  })

  test('is unhealthy when a first token takes longer than the pool allows', async ({ lab }) => {
    const client = await lab.client({ first_token_timeout_ms: 1000 })
    const { url, shard } = await serveShard(lab)
    const worker = await lab.worker({ url })
    await expect.poll(() => worker.state).toBe('ready')
    await client.enqueue({ inputs: 'Stuck', parameters: { max_new_tokens: 2 } })
    await expect.poll(() => shard.busyUntil).toBeGreaterThan(0)
    shard.busyUntil = Infinity
    await expect.poll(() => worker.state, SILENT).toBe('unhealthy')
    shard.busyUntil = 0
  })
})

import { describe, expect } from 'vitest'
import { collect, endOf, errorOf, only, readLog, tokensIn } from '../support/job-log.ts'
import { KEYS, test } from '../support/lab.ts'
import { createManualClock } from '../support/manual-clock.ts'
import type { Lab } from '../support/lab.ts'

/** How many connections Redis has beside the lab's own and its client's. */
async function connections(lab: Lab): Promise<number> {
  return String(await lab.redis.client('LIST'))
    .trim()
    .split('\n').length
}

describe('a worker process that gets SIGTERM', () => {
  test('lets short jobs finish, takes no other, and exits with 0 and nothing left open', async ({ lab }) => {
    const client = await lab.client()
    const before = await connections(lab)
    const clock = createManualClock()
    const replica = await lab.replica({ clock, tokensPerSecond: 50 })
    const worker = await lab.process(replica, { slots: 2 })
    const parameters = { max_new_tokens: 25 }
    const jobs = []
    for (let n = 0; n < 4; n += 1)
      jobs.push((await client.enqueue({ inputs: `Job ${n}`, parameters })).job_id)
    await Promise.all(jobs.slice(0, 2).map((jobId) => tokensIn(lab.redis, KEYS, jobId)))
    worker.kill('SIGTERM')
    await expect.poll(() => client.replicas()).toMatchObject([{ state: 'draining', slots: 0, busy: 2 }])
    clock.run()
    expect(await worker.exited).toEqual({ code: 0, signal: null })
    for (const jobId of jobs.slice(0, 2)) endOf(await readLog(lab.redis, KEYS, jobId))
    for (const jobId of jobs.slice(2)) expect(await client.job(jobId)).toMatchObject({ state: 'queued' })
    expect(await client.waiting()).toEqual({ interactive: 2, batch: 0, delayed: 0 })
    expect(replica.seen.requests).toHaveLength(2)
    expect(await client.replicas()).toEqual([])
    expect(await lab.redis.keys(KEYS.lease('*'))).toEqual([])
    await expect.poll(() => connections(lab)).toBe(before)
    await expect.poll(() => replica.state().open_sockets).toBe(0)

    await lab.process(replica)
    for (const jobId of jobs.slice(2)) endOf(await collect(client, jobId))
  })

  test('hands back what is not over after its grace time, and seals what may not go on', async ({ lab }) => {
    const client = await lab.client({ max_attempts: 1 })
    const clock = createManualClock()
    const replica = await lab.replica({
      clock,
      tokensPerSecond: 20,
      faults: [{ kind: 'slow-prefill', ms: 60_000, match: 'silent', times: 1 }],
    })
    const worker = await lab.process(replica, { graceMs: 300 })
    const parameters = { max_new_tokens: 60 }
    const talking = await client.enqueue({ inputs: 'talking', parameters, on_interrupt: 'fail' })
    const silent = await client.enqueue({ inputs: 'silent', parameters: { max_new_tokens: 2 } })
    await tokensIn(lab.redis, KEYS, talking.job_id)
    await expect.poll(() => replica.seen.open).toBe(2)
    const since = performance.now()
    worker.kill('SIGTERM')
    expect(await worker.exited).toEqual({ code: 0, signal: null })
    expect(performance.now() - since).toBeGreaterThan(290)
    await expect.poll(() => replica.seen.open).toBe(0)

    const sealed = await readLog(lab.redis, KEYS, talking.job_id)
    expect(errorOf(sealed)).toMatchObject({ code: 'WORKER_RESET', tokens_out: only(sealed, 'token').length })
    expect(await client.job(silent.job_id)).toMatchObject({ state: 'started', attempts: 1, tokens_out: 0 })
    // Though the pool allows one attempt: a hand-back is none.
    clock.run()
    await lab.process(replica)
    expect(endOf(await collect(client, silent.job_id)).attempts).toBe(2)
  })

  test('twice hands back at once', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica({ prefillMs: 60_000 })
    const worker = await lab.process(replica, { graceMs: 600_000 })
    const { job_id: jobId } = await client.enqueue({ inputs: 'Long' })
    await expect.poll(() => replica.seen.open).toBe(1)
    // Two within half a second are one wish.
    worker.kill('SIGTERM')
    worker.kill('SIGTERM')
    await worker.hasSaid('draining')
    const since = performance.now()
    await expect.poll(() => performance.now() - since).toBeGreaterThan(600)
    expect(replica.seen.open).toBe(1)
    worker.kill('SIGTERM')
    expect(await worker.exited).toEqual({ code: 0, signal: null })
    expect(await client.waiting()).toEqual({ interactive: 1, batch: 0, delayed: 0 })
    expect(await client.job(jobId)).toMatchObject({ state: 'started', tokens_out: 0 })
  })

  test('with nothing to do exits at once', async ({ lab }) => {
    await lab.client()
    // It would outlast the test, were it waited for.
    const worker = await lab.process(await lab.replica(), { graceMs: 600_000 })
    worker.kill('SIGTERM')
    expect(await worker.exited).toEqual({ code: 0, signal: null })
  })

  test('while its replica is unhealthy, or never was there, exits as well', async ({ lab }) => {
    await lab.client()
    const gone = await lab.replica()
    await gone.stop()
    const worker = await lab.process(gone)
    worker.kill('SIGINT')
    expect(await worker.exited).toEqual({ code: 0, signal: null })
  })

  test('while it starts stops in good order too', async ({ lab }) => {
    const client = await lab.client()
    const before = await connections(lab)
    const worker = lab.startProcess(await lab.replica())
    await expect.poll(() => connections(lab), { interval: 1 }).toBeGreaterThan(before)
    worker.kill('SIGTERM')
    expect(await worker.exited).toEqual({ code: 0, signal: null })
    expect(await client.replicas()).toEqual([])
    expect(await lab.redis.keys(KEYS.lease('*'))).toEqual([])
  })
})

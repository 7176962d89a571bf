import { describe, expect, onTestFinished, test } from 'vitest'
import { collect, endOf, only, readLog, textOf, tokensIn } from '../support/job-log.ts'
import { KEYS } from '../support/lab.ts'
import { createManualClock } from '../support/manual-clock.ts'
import { labOn, startOwnRedis } from '../support/own-redis.ts'
import { startProxy } from '../support/proxy.ts'
import { freeze, killed } from '../support/signals.ts'

/** A lock and a lease that outlast the start of a Redis on a busy machine, and only hold what is said of the answer. */
const LONG_TRUST = { lockMs: 30_000, leaseMs: 30_000 }

describe('Redis that dies in mid-stream and comes back with its append-only file', () => {
  test('within the lock time leaves no hole and no repeat, for the worker and for readers', async () => {
    const { server, again } = await startOwnRedis()
    const lab = await labOn(server.url)
    const client = await lab.client()
    const clock = createManualClock()
    const replica = await lab.replica({ clock, tokensPerSecond: 100 })
    await lab.worker(replica, LONG_TRUST)
    const parameters = { max_new_tokens: 150 }
    const jobs = await Promise.all([1, 2, 3].map((n) => client.enqueue({ inputs: `Job ${n}`, parameters })))
    const readings = jobs.map(({ job_id: jobId }) => collect(client, jobId))
    for (const { job_id: jobId } of jobs) await tokensIn(lab.redis, KEYS, jobId)
    clock.advance(190)
    for (const { job_id: jobId } of jobs) await tokensIn(lab.redis, KEYS, jobId, 20)
    await killed(server.pid)
    clock.advance(500)
    await again()
    clock.run()
    for (const [index, reading] of readings.entries()) {
      const events = await reading
      expect(endOf(events)).toMatchObject({ tokens_out: 150, attempts: 1, text: textOf(events) })
      expect(await readLog(lab.redis, KEYS, jobs[index]?.job_id ?? '')).toEqual(events)
    }
    expect(replica.seen.requests).toHaveLength(3)
  })

  test('gives the jobs that wait and those that are put in later their answers', async () => {
    const { server, again } = await startOwnRedis()
    const lab = await labOn(server.url)
    const client = await lab.client()
    const clock = createManualClock()
    await lab.worker(await lab.replica({ clock, tokensPerSecond: 200 }), { slots: 1 })
    const parameters = { max_new_tokens: 40 }
    const jobs = []
    for (let n = 0; n < 5; n += 1)
      jobs.push((await client.enqueue({ inputs: `Job ${n}`, parameters })).job_id)
    await tokensIn(lab.redis, KEYS, jobs[0] ?? '')
    await killed(server.pid)
    await again()
    clock.run()
    await expect
      .poll(() => client.enqueue({ inputs: 'Late', parameters }, { jobId: 'late' }).catch(() => undefined))
      .toBeDefined()
    for (const jobId of [...jobs, 'late']) endOf(await collect(client, jobId))
  })
})

describe('Redis that is frozen', () => {
  test('for longer than the lock interrupts the attempt and closes its request; one terminal event in the end', async () => {
    const { server } = await startOwnRedis()
    const lab = await labOn(server.url)
    const client = await lab.client()
    const clock = createManualClock()
    const replica = await lab.replica({ clock, tokensPerSecond: 50 })
    await lab.worker(replica, { lockMs: 1000, stalledIntervalMs: 300 })
    const { job_id: jobId } = await client.enqueue({ inputs: 'Freeze', parameters: { max_new_tokens: 60 } })
    await tokensIn(lab.redis, KEYS, jobId)
    clock.advance(80)
    await tokensIn(lab.redis, KEYS, jobId, 5)
    const thaw = freeze(server.pid)
    // While Redis is still frozen: the lock is trusted for 0.9 of its time, whatever becomes of it.
    await expect.poll(() => replica.seen.open).toBe(0)
    const held = performance.now()
    await expect.poll(() => performance.now() - held).toBeGreaterThan(500)
    thaw()
    clock.run()
    const events = await collect(client, jobId)
    expect(endOf(events)).toMatchObject({ attempts: 2, tokens_out: 60 })
    expect(replica.seen.requests).toHaveLength(2)
    await expect.poll(() => client.waiting()).toEqual({ interactive: 0, batch: 0, delayed: 0 })
    expect(await readLog(lab.redis, KEYS, jobId)).toEqual(events)
    const next = await client.enqueue({ inputs: 'Next', parameters: { max_new_tokens: 2 } })
    endOf(await collect(client, next.job_id))
  })

  test('before the first token runs the job again and ends it well', async () => {
    const { server } = await startOwnRedis()
    const lab = await labOn(server.url)
    const client = await lab.client()
    const replica = await lab.replica({ faults: [{ kind: 'slow-prefill', ms: 60_000, times: 1 }] })
    await lab.worker(replica, { lockMs: 1000, stalledIntervalMs: 300 })
    const { job_id: jobId } = await client.enqueue({ inputs: 'Freeze', parameters: { max_new_tokens: 5 } })
    await expect.poll(() => replica.seen.open).toBe(1)
    const thaw = freeze(server.pid)
    await expect.poll(() => replica.seen.open).toBe(0)
    thaw()
    expect(endOf(await collect(client, jobId))).toMatchObject({ attempts: 2, tokens_out: 5 })
  })

  test('for less than the lock only holds the stream up', async () => {
    const { server } = await startOwnRedis()
    const lab = await labOn(server.url)
    const client = await lab.client()
    const clock = createManualClock()
    const replica = await lab.replica({ clock, tokensPerSecond: 200 })
    await lab.worker(replica, LONG_TRUST)
    const { job_id: jobId } = await client.enqueue({ inputs: 'Freeze', parameters: { max_new_tokens: 300 } })
    await tokensIn(lab.redis, KEYS, jobId)
    const thaw = freeze(server.pid)
    const held = performance.now()
    const stopClock = clock.run()
    await expect.poll(() => replica.state().tokens_total).toBeGreaterThan(50)
    stopClock()
    await expect.poll(() => performance.now() - held).toBeGreaterThan(600)
    thaw()
    clock.run()
    expect(endOf(await collect(client, jobId))).toMatchObject({ attempts: 1, tokens_out: 300 })
    expect(replica.seen.requests).toHaveLength(1)
  })
})

describe('a failover that loses a tail', () => {
  test('is made good by the worker, and readers have the whole in the end', async () => {
    const { server } = await startOwnRedis()
    const lab = await labOn(server.url)
    const client = await lab.client()
    const clock = createManualClock()
    await lab.worker(await lab.replica({ clock, tokensPerSecond: 100 }))
    const { job_id: jobId } = await client.enqueue({ inputs: 'Lose', parameters: { max_new_tokens: 400 } })
    const key = KEYS.events(jobId)
    await tokensIn(lab.redis, KEYS, jobId)
    clock.advance(90)
    await tokensIn(lab.redis, KEYS, jobId, 10)
    const reading = collect(client, jobId)
    const copy = await lab.redis.dumpBuffer(key)
    const ttl = await lab.redis.pttl(key)
    clock.advance(300)
    await tokensIn(lab.redis, KEYS, jobId, 40)
    const before = await readLog(lab.redis, KEYS, jobId)
    await lab.redis.restore(key, ttl, copy, 'REPLACE')
    clock.run()
    const events = await reading
    expect(endOf(events)).toMatchObject({ attempts: 1, tokens_out: 400, text: textOf(events) })
    expect(events.slice(0, before.length)).toEqual(before)
    const log = await readLog(lab.redis, KEYS, jobId)
    expect(log).toEqual(events)
    // A reader whose cursor was among what was lost goes on from it, since it is there again.
    const cursor = before.at(-1)?.id
    expect(await collect(client, jobId, cursor)).toEqual(events.slice(before.length))
  })

  test('of the whole stream is made good as well', async () => {
    const { server } = await startOwnRedis()
    const lab = await labOn(server.url)
    const client = await lab.client()
    const clock = createManualClock()
    await lab.worker(await lab.replica({ clock, tokensPerSecond: 100 }))
    const { job_id: jobId } = await client.enqueue({ inputs: 'Lose', parameters: { max_new_tokens: 400 } })
    await tokensIn(lab.redis, KEYS, jobId)
    clock.advance(90)
    await tokensIn(lab.redis, KEYS, jobId, 10)
    const before = await readLog(lab.redis, KEYS, jobId)
    await lab.redis.multi().del(KEYS.events(jobId)).zrem(KEYS.deadlines, jobId).exec()
    clock.run()
    const events = await collect(client, jobId)
    expect(endOf(events)).toMatchObject({ attempts: 1, tokens_out: 400 })
    expect(events.slice(0, before.length)).toEqual(before)
    expect(await lab.redis.zcard(KEYS.deadlines)).toBe(0)
    expect(await lab.redis.pttl(KEYS.events(jobId))).toBeGreaterThan(0)
  })
})

describe('a line to Redis that goes silent', () => {
  test('closes the requests before the lease is another worker’s, and that one takes over', async () => {
    const { server } = await startOwnRedis()
    const proxy = await startProxy(server.port)
    onTestFinished(() => proxy.close())
    const lab = await labOn(server.url)
    const client = await lab.client()
    const clock = createManualClock()
    const replica = await lab.replica({ clock, prefillMs: 0, tokensPerSecond: 20 })
    const cutOff = await lab.worker(replica, {
      redisUrl: proxy.url,
      leaseMs: 1000,
      lockMs: 1000,
      stalledIntervalMs: 300,
      slots: 1,
    })
    await expect.poll(() => cutOff.state).toBe('ready')
    const times = { leaseMs: 1000, lockMs: 1000, stalledIntervalMs: 300 }
    const standby = await lab.worker(replica, { ...times, slots: 1 })
    const { job_id: jobId } = await client.enqueue({ inputs: 'Cut', parameters: { max_new_tokens: 40 } })
    await tokensIn(lab.redis, KEYS, jobId)
    clock.advance(100)
    await tokensIn(lab.redis, KEYS, jobId, 3)
    proxy.stall()
    await expect.poll(() => standby.state, { interval: 1 }).toBe('ready')
    expect(replica.seen.open).toBe(0)
    clock.run()
    const next = await client.enqueue({ inputs: 'Next', parameters: { max_new_tokens: 3 } })
    endOf(await collect(client, next.job_id))
    expect(endOf(await collect(client, jobId))).toMatchObject({ attempts: 2, tokens_out: 40 })
    proxy.pass()
    await expect.poll(() => cutOff.state).toBe('standby')
    expect(only(await readLog(lab.redis, KEYS, jobId), 'started')).toHaveLength(2)
    expect(replica.seen.most).toBe(1)
  })
})

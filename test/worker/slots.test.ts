import { describe, expect } from 'vitest'
import type { PoolClient } from '../../src/client/pool-client.ts'
import { collect, endOf, readLog, tokensIn } from '../support/job-log.ts'
import { KEYS, test } from '../support/lab.ts'
import { createManualClock } from '../support/manual-clock.ts'

async function enqueueMany(client: PoolClient, count: number, maxNewTokens: number): Promise<string[]> {
  const admissions = await Promise.all(
    Array.from({ length: count }, (_, index) =>
      client.enqueue({ inputs: `[tag:${index}] go`, parameters: { max_new_tokens: maxNewTokens } }),
    ),
  )
  return admissions.map(({ job_id: jobId }) => jobId)
}

describe('a worker', () => {
  test('holds as many requests open as it has slots and never one more', async ({ lab }) => {
    const client = await lab.client()
    const clock = createManualClock()
    const replica = await lab.replica({ clock, tokensPerSecond: 200, prefillMs: 5 })
    const worker = await lab.worker(replica, { slots: 3 })
    const jobs = await enqueueMany(client, 40, 10)
    await expect.poll(() => replica.seen.open).toBe(3)
    clock.run()
    for (const events of await Promise.all(jobs.map((jobId) => collect(client, jobId)))) endOf(events)
    expect(replica.seen.most).toBe(3)
    expect(replica.seen.requests).toHaveLength(40)
    await expect.poll(() => worker.busy).toBe(0)
  })

  test('opens no more than the replica says it takes', async ({ lab }) => {
    const client = await lab.client()
    const clock = createManualClock()
    const replica = await lab.replica({ clock, tokensPerSecond: 200, prefillMs: 5, maxConcurrentRequests: 2 })
    await lab.worker(replica, { slots: 8 })
    const jobs = await enqueueMany(client, 20, 10)
    await expect.poll(() => replica.seen.open).toBe(2)
    clock.run()
    for (const events of await Promise.all(jobs.map((jobId) => collect(client, jobId)))) {
      expect(endOf(events).attempts).toBe(1)
    }
    expect(replica.seen.most).toBe(2)
    expect(await client.replicas()).toMatchObject([{ state: 'ready', slots: 2, slots_configured: 8 }])
  })

  test('follows the replica when it takes fewer from now on, and more again', async ({ lab }) => {
    const client = await lab.client()
    const clock = createManualClock()
    const replica = await lab.replica({ clock, tokensPerSecond: 100, prefillMs: 5 })
    await lab.worker(replica, { slots: 4, probeMs: 30 })
    const slots = async () => (await client.replicas())[0]?.slots
    await expect.poll(slots).toBe(4)
    replica.setInfo({ max_concurrent_requests: 1 })
    await expect.poll(slots).toBe(1)
    const few = await enqueueMany(client, 6, 10)
    const stopClock = clock.run()
    await Promise.all(few.map((jobId) => client.result(jobId)))
    expect(replica.seen.most).toBe(1)
    stopClock()
    replica.setInfo({ max_concurrent_requests: 3 })
    await expect.poll(slots).toBe(3)
    const many = await enqueueMany(client, 12, 10)
    await expect.poll(() => replica.seen.open).toBe(3)
    clock.run()
    await Promise.all(many.map((jobId) => client.result(jobId)))
    expect(replica.seen.most).toBe(3)
  })
})

describe('a replica that is overloaded', () => {
  test('gives jobs back unharmed, without costing them attempts', async ({ lab }) => {
    const client = await lab.client({ max_attempts: 1 })
    const replica = await lab.replica({ faults: [{ kind: 'overloaded', times: 4 }] })
    await lab.worker(replica)
    const [jobId = ''] = await enqueueMany(client, 1, 5)
    const events = await collect(client, jobId)
    expect(endOf(events)).toMatchObject({ attempts: 5, tokens_out: 5 })
    const gaps = replica.seen.requests.slice(1).map(({ receivedAtMs }, index) => {
      return receivedAtMs - (replica.seen.requests[index]?.receivedAtMs ?? 0)
    })
    // Half of 50, 100, 200, 400 ms is the least that the breaker waits; a few ms are the clocks'.
    for (const [index, gap] of gaps.entries()) expect(gap).toBeGreaterThan(25 * 2 ** index - 5)
  })

  test('by somebody else too still answers every job', async ({ lab }) => {
    const client = await lab.client({ max_attempts: 1 })
    const replica = await lab.replica({ tokensPerSecond: 1000, maxConcurrentRequests: 2 })
    replica.setInfo({ max_concurrent_requests: 128 })
    await lab.worker(replica, { slots: 4 })
    const jobs = await enqueueMany(client, 12, 4)
    for (const events of await Promise.all(jobs.map((jobId) => collect(client, jobId)))) endOf(events)
  })

  test('is left alone while the other replica of the pool goes on', async ({ lab }) => {
    const client = await lab.client()
    const busy = await lab.replica({ faults: [{ kind: 'overloaded' }] })
    const free = await lab.replica()
    await lab.worker(busy, { slots: 2 })
    await lab.worker(free, { slots: 2 })
    const jobs = await enqueueMany(client, 40, 4)
    for (const events of await Promise.all(jobs.map((jobId) => collect(client, jobId)))) endOf(events)
    expect(busy.seen.requests.length).toBeLessThan(20)
    expect(free.seen.requests).toHaveLength(40)
  })
})

describe('a second worker on the same replica', () => {
  test('stands by, and takes over at once when the first stops', async ({ lab }) => {
    const client = await lab.client()
    const clock = createManualClock()
    const replica = await lab.replica({ clock, tokensPerSecond: 200 })
    const first = await lab.worker(replica, { leaseMs: 1000 })
    await expect.poll(() => first.state).toBe('ready')
    const second = await lab.worker(replica, { leaseMs: 1000 })
    const states = async () => (await client.replicas()).map(({ worker_id: id, state }) => [id, state])
    await expect.poll(states).toEqual([
      [first.workerId, 'ready'],
      [second.workerId, 'standby'],
    ])
    const [jobId = ''] = await enqueueMany(client, 1, 40)
    await tokensIn(lab.redis, KEYS, jobId)
    expect([first.busy, second.busy]).toEqual([1, 0])
    clock.run()
    await first.stop()
    // Given up, not left to run out.
    expect(await lab.redis.get(KEYS.lease(first.replicaId))).not.toBe(first.workerId)
    expect(endOf(await readLog(lab.redis, KEYS, jobId)).attempts).toBe(1)
    await expect.poll(() => second.state).toBe('ready')
    await expect.poll(states).toEqual([[second.workerId, 'ready']])
    const [next = ''] = await enqueueMany(client, 1, 3)
    endOf(await collect(client, next))
  })

  test('opens nothing while it stands by, though jobs wait', async ({ lab }) => {
    const client = await lab.client()
    const clock = createManualClock()
    const replica = await lab.replica({ clock, tokensPerSecond: 500, prefillMs: 5 })
    const first = await lab.worker(replica, { slots: 2 })
    await expect.poll(() => first.state).toBe('ready')
    const second = await lab.worker(replica, { slots: 2 })
    const jobs = await enqueueMany(client, 20, 10)
    await expect.poll(() => replica.seen.open).toBe(2)
    clock.run()
    await Promise.all(jobs.map((jobId) => client.result(jobId)))
    expect(replica.seen.most).toBe(2)
    expect(second.state).toBe('standby')
  })

  test('takes over when the lease of the first is gone, and the first closes its requests', async ({
    lab,
  }) => {
    const client = await lab.client()
    const clock = createManualClock()
    const replica = await lab.replica({ clock, tokensPerSecond: 20 })
    const first = await lab.worker(replica, { leaseMs: 1000 })
    await expect.poll(() => first.state).toBe('ready')
    const second = await lab.worker(replica, { leaseMs: 1000 })
    const [jobId = ''] = await enqueueMany(client, 1, 30)
    await tokensIn(lab.redis, KEYS, jobId)
    await lab.redis.set(KEYS.lease(first.replicaId), second.workerId, 'PX', 1000)
    await expect.poll(() => [first.state, second.state]).toEqual(['standby', 'ready'])
    clock.run()
    const events = await collect(client, jobId)
    expect(endOf(events)).toMatchObject({ attempts: 2, tokens_out: 30 })
    await expect.poll(() => replica.seen.open).toBe(0)
  })

  test('that stops leaves the entry of the first as it is', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica()
    const first = await lab.worker(replica)
    await expect.poll(() => client.replicas()).toMatchObject([{ state: 'ready' }])
    const second = await lab.worker(replica)
    await expect.poll(() => client.replicas()).toMatchObject([{ state: 'ready' }, { state: 'standby' }])
    await second.stop()
    const seen = (await client.replicas()).map(({ worker_id: id, state }) => [id, state])
    expect(seen).toEqual([[first.workerId, 'ready']])
  })
})

import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect } from 'vitest'
import { collect, endOf, only, readLog, tokensIn } from '../support/job-log.ts'
import { KEYS, test } from '../support/lab.ts'
import { createManualClock } from '../support/manual-clock.ts'

const SHORT = { max_new_tokens: 3 }

describe('a replica that is drained', () => {
  test('takes nothing more, lets what runs finish, says so, and comes back without a restart', async ({
    lab,
  }) => {
    const client = await lab.client()
    const clock = createManualClock()
    const replica = await lab.replica({ clock, tokensPerSecond: 50 })
    const worker = await lab.worker(replica)
    await expect.poll(() => worker.state).toBe('ready')
    const { job_id: running } = await client.enqueue({ inputs: 'Go', parameters: { max_new_tokens: 60 } })
    await tokensIn(lab.redis, KEYS, running)
    const outcome = await client.drain(worker.replicaId)
    expect(outcome).toEqual({
      replica_id: worker.replicaId,
      outcome: 'draining',
      since: expect.any(Number),
      ready_replicas: 0,
    })
    await expect.poll(() => worker.state).toBe('draining')
    await expect
      .poll(() => client.replicas())
      .toMatchObject([
        {
          state: 'draining',
          slots: 0,
          busy: 1,
          reason: expect.stringContaining(`tgi-pool undrain ${worker.replicaId}`),
        },
      ])
    const { job_id: late } = await client.enqueue({ inputs: 'Wait', parameters: SHORT })
    clock.run()
    expect(endOf(await collect(client, running))).toMatchObject({ attempts: 1, tokens_out: 60 })
    await expect.poll(() => client.replicas()).toMatchObject([{ state: 'draining', busy: 0 }])
    // A worker that was waiting for a job when it shut takes that one and puts it back.
    await expect.poll(() => client.waiting()).toMatchObject({ interactive: 1 })
    expect(replica.seen.requests).toHaveLength(1)
    expect(await lab.redis.get(KEYS.lease(worker.replicaId))).toBe(worker.workerId)

    expect(await client.undrain(worker.replicaId)).toEqual({
      replica_id: worker.replicaId,
      outcome: 'undrained',
    })
    await expect.poll(() => worker.state).toBe('ready')
    expect(endOf(await collect(client, late)).attempts).toBe(1)
    await expect.poll(() => client.replicas()).toMatchObject([{ state: 'ready', slots: 8 }])
  })

  test('stays so when its worker starts anew, and probes on', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica()
    const first = await lab.worker(replica, { replicaId: 'gpu-0' })
    await client.drain('gpu-0')
    await expect.poll(() => first.state).toBe('draining')
    // As ever, and at once: nothing runs.
    await first.stop()
    expect(await client.replicas()).toEqual([])

    const second = await lab.worker(replica, { replicaId: 'gpu-0' })
    await expect.poll(() => client.replicas()).toMatchObject([{ state: 'draining', slots: 0 }])
    const { job_id: jobId } = await client.enqueue({ inputs: 'Wait', parameters: SHORT })
    replica.setHealthy(false)
    await expect
      .poll(() => client.replicas())
      .toMatchObject([{ state: 'draining', reason: expect.stringContaining('not healthy') }])
    replica.setHealthy(true)
    await expect
      .poll(() => client.replicas())
      .toMatchObject([{ state: 'draining', reason: expect.not.stringContaining('not healthy') }])
    expect(replica.seen.requests).toEqual([])
    await client.undrain('gpu-0')
    endOf(await collect(client, jobId))
    expect(second.state).toBe('ready')
  })

  test('hands what still runs after the grace time to another replica, and nothing before', async ({
    lab,
  }) => {
    const client = await lab.client({ max_attempts: 1 })
    const old = await lab.replica({ prefillMs: 60_000 })
    const worker = await lab.worker(old)
    await expect.poll(() => worker.state).toBe('ready')
    const { job_id: jobId } = await client.enqueue({ inputs: 'Go', parameters: SHORT })
    await expect.poll(() => old.seen.open).toBe(1)
    const young = await lab.worker(await lab.replica())
    // The registry hears of it a moment after the worker knows.
    await expect
      .poll(async () => (await client.replicas()).map(({ state }) => state))
      .toEqual(['ready', 'ready'])
    const since = performance.now()
    expect(await client.drain(worker.replicaId, { graceMs: 400 })).toMatchObject({
      grace_ms: 400,
      ready_replicas: 1,
    })
    const events = await collect(client, jobId)
    expect(performance.now() - since).toBeGreaterThan(390)
    // Though the pool allows one attempt: a hand-back is none.
    expect(endOf(events).attempts).toBe(2)
    expect(only(events, 'started').map(({ data }) => data.replica_id)).toEqual([
      worker.replicaId,
      young.replicaId,
    ])
    await expect.poll(() => old.seen.open).toBe(0)
    expect(worker.state).toBe('draining')
  })

  test("gives running attempts its worker's own grace time unless told otherwise", async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica({ prefillMs: 60_000 })
    const worker = await lab.worker(replica, { graceMs: 300 })
    await client.enqueue({ inputs: 'Go', parameters: SHORT })
    await expect.poll(() => replica.seen.open).toBe(1)
    await client.drain(worker.replicaId)
    await expect.poll(() => replica.seen.open).toBe(0)
    expect(replica.seen.requests).toMatchObject([{ outcome: 'aborted' }])
  })

  test('may be given another grace time, and lets go of nobody when it is undrained in time', async ({
    lab,
  }) => {
    const client = await lab.client()
    const replica = await lab.replica({ prefillMs: 60_000 })
    const worker = await lab.worker(replica)
    const { job_id: jobId } = await client.enqueue({ inputs: 'Go', parameters: SHORT })
    await expect.poll(() => replica.seen.open).toBe(1)
    const first = await client.drain(worker.replicaId, { graceMs: 1500 })
    await expect.poll(() => worker.state).toBe('draining')
    await client.undrain(worker.replicaId)
    await expect.poll(() => worker.state).toBe('ready')
    // Until the first grace time is over for sure: nothing must happen then.
    await sleep(1700)
    expect(replica.seen.requests).toMatchObject([{ outcome: undefined }])

    expect(await client.drain(worker.replicaId)).toMatchObject({ outcome: 'draining' })
    const again = await client.drain(worker.replicaId, { graceMs: 0 })
    expect(again).toMatchObject({ outcome: 'already_draining', grace_ms: 0 })
    expect(again.since).toBeGreaterThan(first.since)
    await expect.poll(() => replica.seen.open).toBe(0)
    expect(await client.job(jobId)).toMatchObject({ state: 'started', tokens_out: 0 })
    await expect.poll(() => client.waiting()).toMatchObject({ interactive: 1 })
  })

  test('stops on SIGTERM as ever: with its own grace time, which may be shorter', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica({ prefillMs: 60_000 })
    const child = await lab.process(replica, { graceMs: 200 })
    await client.enqueue({ inputs: 'Go', parameters: SHORT })
    await expect.poll(() => replica.seen.open).toBe(1)
    const [{ replica_id: replicaId } = { replica_id: '' }] = await client.replicas()
    await client.drain(replicaId, { graceMs: 600_000 })
    await child.hasSaid('drain requested')
    child.kill('SIGTERM')
    expect(await child.exited).toEqual({ code: 0, signal: null })
    expect(await client.replicas()).toEqual([])
    expect(await client.waiting()).toMatchObject({ interactive: 1 })
  })

  test('is drained whoever holds its lease: a standby that takes over takes no job', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica()
    const first = await lab.worker(replica, { replicaId: 'gpu-0' })
    await expect.poll(() => first.state).toBe('ready')
    const second = await lab.worker(replica, { replicaId: 'gpu-0' })
    await client.drain('gpu-0')
    await expect.poll(() => first.state).toBe('draining')
    await first.stop()
    await expect.poll(() => second.state).toBe('draining')
    const { job_id: jobId } = await client.enqueue({ inputs: 'Wait', parameters: SHORT })
    // Two looks at the wish, and any number at the queue.
    const beats = async () => (await client.replicas())[0]?.updated_at ?? 0
    const from = await beats()
    await expect.poll(beats).toBeGreaterThan(from + 2000)
    expect(replica.seen.requests).toEqual([])
    expect((await readLog(lab.redis, KEYS, jobId)).map(({ event }) => event)).toEqual(['queued'])
  })
})

describe('a wish to drain', () => {
  test('that nobody is woken for is seen on the beat, and so is its end', async ({ lab }) => {
    const client = await lab.client()
    const worker = await lab.worker(await lab.replica())
    await expect.poll(() => worker.state).toBe('ready')
    // What pub/sub may lose: the message. The wish is there.
    const time = async () => Number((await lab.redis.time())[0]) * 1000
    await lab.redis.hset(KEYS.drains, worker.replicaId, JSON.stringify({ since: await time() }))
    await expect.poll(() => worker.state).toBe('draining')
    await lab.redis.hdel(KEYS.drains, worker.replicaId)
    await expect.poll(() => worker.state).toBe('ready')
    expect(await client.replicas()).toHaveLength(1)
  })

  test('that is late by all of its grace time hands back at once', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica({ prefillMs: 60_000 })
    const worker = await lab.worker(replica)
    await client.enqueue({ inputs: 'Go', parameters: SHORT })
    await expect.poll(() => replica.seen.open).toBe(1)
    const wish = { since: Date.now() - 60_000, grace_ms: 30_000 }
    await lab.redis.hset(KEYS.drains, worker.replicaId, JSON.stringify(wish))
    await expect.poll(() => replica.seen.open).toBe(0)
  })

  test('that cannot be read leaves the replica as it is, with a word in the log', async ({ lab }) => {
    const client = await lab.client()
    const worker = await lab.worker(await lab.replica())
    await expect.poll(() => worker.state).toBe('ready')
    await lab.redis.hset(KEYS.drains, worker.replicaId, '{"since":"today"}')
    await expect.poll(() => lab.lines.join('')).toContain('since: expected number')
    const { job_id: jobId } = await client.enqueue({ inputs: 'Go', parameters: SHORT })
    endOf(await collect(client, jobId))
    await client.undrain(worker.replicaId)
  })

  test('for a replica that is not there says which are', async ({ lab }) => {
    const client = await lab.client()
    await expect(client.drain('gpu-7')).rejects.toMatchObject({
      kind: 'UNKNOWN_REPLICA',
      message: 'no replica gpu-7 in pool lab (there are none)',
    })
    await lab.worker(await lab.replica(), { replicaId: 'gpu-0' })
    await lab.worker(await lab.replica(), { replicaId: 'gpu-1' })
    for (const call of [client.drain('gpu-7'), client.undrain('gpu-7')]) {
      await expect(call).rejects.toMatchObject({
        kind: 'UNKNOWN_REPLICA',
        message: 'no replica gpu-7 in pool lab (there are: gpu-0, gpu-1)',
      })
    }
    await expect(client.drain('GPU 0')).rejects.toMatchObject({ kind: 'INVALID_PARAMS' })
    for (const graceMs of [-1, 1.5, 2 ** 31])
      await expect(client.drain('gpu-0', { graceMs })).rejects.toMatchObject({ kind: 'INVALID_PARAMS' })
    expect(await lab.redis.exists(KEYS.drains)).toBe(0)
  })

  test('for one whose worker went away without a word is fine, and so is its end', async ({ lab }) => {
    const client = await lab.client()
    const child = await lab.process(await lab.replica(), { replicaId: 'gpu-0', leaseMs: 500 })
    child.kill('SIGKILL')
    await child.exited
    await expect.poll(() => client.replicas()).toMatchObject([{ state: 'lost' }])
    expect(await client.drain('gpu-0')).toMatchObject({ outcome: 'draining', ready_replicas: 0 })
    expect(await client.drain('gpu-0')).toMatchObject({ outcome: 'already_draining' })
    // Known by the wish alone, too.
    await lab.redis.del(KEYS.replicas)
    expect(await client.drain('gpu-0')).toMatchObject({ outcome: 'already_draining' })
    expect(await client.undrain('gpu-0')).toMatchObject({ outcome: 'undrained' })
    await expect(client.undrain('gpu-0')).rejects.toMatchObject({ kind: 'UNKNOWN_REPLICA' })
  })

  test('for one of two leaves the other to serve alone', async ({ lab }) => {
    const client = await lab.client()
    const [one, two] = [await lab.replica(), await lab.replica()]
    const first = await lab.worker(one)
    const second = await lab.worker(two)
    for (const worker of [first, second]) await expect.poll(() => worker.state).toBe('ready')
    await expect
      .poll(async () => (await client.replicas()).map(({ state }) => state))
      .toEqual(['ready', 'ready'])
    expect(await client.drain(first.replicaId)).toMatchObject({ ready_replicas: 1 })
    expect(await client.drain(second.replicaId)).toMatchObject({ ready_replicas: 0 })
    expect(await client.undrain(second.replicaId)).toMatchObject({ outcome: 'undrained' })
    expect(await client.undrain(second.replicaId)).toMatchObject({ outcome: 'was_not_draining' })
    await expect.poll(() => [first.state, second.state]).toEqual(['draining', 'ready'])
    for (let n = 0; n < 20; n += 1) {
      const { job_id: jobId } = await client.enqueue({ inputs: `Job ${n}`, parameters: SHORT })
      endOf(await collect(client, jobId))
    }
    expect(one.seen.requests).toEqual([])
    expect(two.seen.requests).toHaveLength(20)
  })
})

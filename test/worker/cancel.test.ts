import { describe, expect } from 'vitest'
import { collect, endOf, errorOf, only, readLog, tokensIn } from '../support/job-log.ts'
import { KEYS, POOL, test } from '../support/lab.ts'
import type { Lab, Replica } from '../support/lab.ts'
import { createManualClock } from '../support/manual-clock.ts'

const NOTHING = { interactive: 0, batch: 0, delayed: 0 }

/** Waits until the first request of a replica is closed by its worker. Where its clock stands still, no token comes before. */
async function aborted(replica: Replica): Promise<void> {
  await expect.poll(() => replica.seen.requests[0]?.outcome, { interval: 1 }).toBe('aborted')
}

/** How many workers hear of seals now. */
async function listeners(lab: Lab): Promise<unknown> {
  const [, count] = (await lab.redis.call('PUBSUB', 'SHARDNUMSUB', KEYS.cancelChannel)) as unknown[]
  return count
}

describe('a cancel', () => {
  test('before any worker is there ends the job, and no worker ever sees it', async ({ lab }) => {
    const client = await lab.client()
    const { job_id: jobId } = await client.enqueue({ inputs: 'Never mind' })
    expect(await client.cancel(jobId, { reason: 'changed\nmy mind' })).toBe('cancelled')
    const events = await collect(client, jobId)
    expect(errorOf(events)).toMatchObject({
      code: 'CANCELLED',
      message: 'changed my mind',
      retriable: false,
      pool_id: POOL,
    })
    expect(events).toHaveLength(2)
    expect(await client.waiting()).toEqual(NOTHING)
    const replica = await lab.replica()
    await lab.worker(replica)
    const next = await client.enqueue({ inputs: 'This one', parameters: { max_new_tokens: 2 } })
    await client.result(next.job_id)
    expect(replica.seen.requests).toHaveLength(1)
  })

  test('of a job that waits behind another leaves that one alone', async ({ lab }) => {
    const client = await lab.client()
    const clock = createManualClock()
    const replica = await lab.replica({ clock, tokensPerSecond: 100 })
    await lab.worker(replica, { slots: 1 })
    const first = await client.enqueue({ inputs: '[tag:first]', parameters: { max_new_tokens: 30 } })
    const second = await client.enqueue({ inputs: '[tag:second]' })
    const third = await client.enqueue({ inputs: '[tag:third]', parameters: { max_new_tokens: 2 } })
    expect(await client.cancel(second.job_id)).toBe('cancelled')
    clock.run()
    endOf(await collect(client, first.job_id))
    endOf(await collect(client, third.job_id))
    expect(replica.seen.requests.map(({ tag }) => tag)).toEqual(['first', 'third'])
  })

  test.for(['in prefill', 'in the first silence of a replica that stalls', 'while it streams'])(
    '%s closes the request at once and frees its slot',
    async (when, { lab }) => {
      const client = await lab.client()
      const clock = createManualClock()
      const replica = await lab.replica({ clock, tokensPerSecond: 20 })
      if (when === 'in prefill') replica.addFault({ kind: 'slow-prefill', ms: 60_000, times: 1 })
      if (when.endsWith('stalls')) replica.addFault({ kind: 'stall', times: 1 })
      const worker = await lab.worker(replica, { slots: 1 })
      const { job_id: jobId } = await client.enqueue({ inputs: 'Stop', parameters: { max_new_tokens: 1000 } })
      await expect.poll(() => replica.seen.open).toBe(1)
      if (when === 'while it streams') {
        await tokensIn(lab.redis, KEYS, jobId)
        clock.advance(50)
        await tokensIn(lab.redis, KEYS, jobId, 2)
      }
      expect(await client.cancel(jobId)).toBe('cancelled')
      const returned = await readLog(lab.redis, KEYS, jobId)
      await aborted(replica)
      await expect.poll(() => worker.busy).toBe(0)

      const next = await client.enqueue({ inputs: 'Next', parameters: { max_new_tokens: 1 } })
      endOf(await collect(client, next.job_id))
      const events = await collect(client, jobId)
      expect(events).toEqual(returned)
      expect(errorOf(events).code).toBe('CANCELLED')
    },
  )

  test('while the replica has not answered yet closes the connection', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica({ faults: [{ kind: 'hang-headers', times: 1 }] })
    // Probes come and go; the only other socket is the one that hangs.
    const worker = await lab.worker(replica, { slots: 1, probeMs: 60_000 })
    const { job_id: jobId } = await client.enqueue({ inputs: 'Hang' })
    await expect.poll(() => worker.busy).toBe(1)
    await expect.poll(() => replica.state().open_sockets).toBe(1)
    await client.cancel(jobId)
    await expect.poll(() => [worker.busy, replica.state().open_sockets]).toEqual([0, 0])
    expect(errorOf(await readLog(lab.redis, KEYS, jobId)).code).toBe('CANCELLED')
  })

  test('while the job waits for its next attempt ends it for good', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica({ faults: [{ kind: 'overloaded' }] })
    const worker = await lab.worker(replica)
    const { job_id: jobId } = await client.enqueue({ inputs: 'Back' })
    await expect.poll(async () => (await client.waiting()).delayed).toBe(1)
    await client.cancel(jobId)
    await expect.poll(() => client.waiting()).toEqual(NOTHING)
    expect(errorOf(await readLog(lab.redis, KEYS, jobId)).code).toBe('CANCELLED')
    await expect.poll(() => worker.busy).toBe(0)
  })

  test('from another process than the one that put the job in works the same', async ({ lab }) => {
    const producer = await lab.client()
    const canceller = await lab.client()
    const reader = await lab.client()
    const replica = await lab.replica({ clock: createManualClock(), tokensPerSecond: 50 })
    await lab.worker(replica)
    const { job_id: jobId } = await producer.enqueue({ inputs: 'Stop', parameters: { max_new_tokens: 1000 } })
    const reading = collect(reader, jobId)
    await tokensIn(lab.redis, KEYS, jobId)
    await producer.close()
    expect(await canceller.cancel(jobId)).toBe('cancelled')
    expect(errorOf(await reading).code).toBe('CANCELLED')
    await aborted(replica)
  })

  test('wakes the worker, which would else hear of it a look at the log later, once a second', async ({
    lab,
  }) => {
    const client = await lab.client()
    const replica = await lab.replica({ prefillMs: 60_000 })
    await lab.worker(replica, { slots: 11 })
    const jobs = Array.from({ length: 11 }, (_, nth) => `job-${nth}`)
    for (const jobId of jobs) await client.enqueue({ inputs: 'Stop' }, { jobId })
    await expect.poll(() => replica.seen.open).toBe(11)
    const since = performance.now()
    for (const [nth, jobId] of jobs.entries()) {
      await client.cancel(jobId)
      await expect.poll(() => replica.seen.open, { interval: 1 }).toBe(10 - nth)
    }
    // Without wake-ups ten seconds at least, a look for each but the first; with them a tenth of a second.
    expect(performance.now() - since).toBeLessThan(9000)
  })

  test('after the end changes nothing', async ({ lab }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica())
    const { job_id: jobId } = await client.enqueue({ inputs: 'Done', parameters: { max_new_tokens: 3 } })
    const events = await collect(client, jobId)
    expect(await client.cancel(jobId)).toBe('already_over')
    expect(await readLog(lab.redis, KEYS, jobId)).toEqual(events)
  })

  test('that comes twice, or ten times at once, cancels once', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica({ clock: createManualClock(), tokensPerSecond: 50 })
    await lab.worker(replica)
    const { job_id: jobId } = await client.enqueue({ inputs: 'Stop', parameters: { max_new_tokens: 1000 } })
    await tokensIn(lab.redis, KEYS, jobId)
    const outcomes = await Promise.all(Array.from({ length: 10 }, () => client.cancel(jobId)))
    expect(outcomes.filter((outcome) => outcome === 'cancelled')).toHaveLength(1)
    expect(await client.cancel(jobId)).toBe('already_over')
    expect(errorOf(await readLog(lab.redis, KEYS, jobId)).code).toBe('CANCELLED')
  })

  test('of a job that nobody knows says so and writes nothing', async ({ lab }) => {
    const client = await lab.client()
    const keys = (await lab.redis.keys('*')).toSorted()
    await expect(client.cancel('no-such-job')).rejects.toMatchObject({ kind: 'UNKNOWN_JOB' })
    expect((await lab.redis.keys('*')).toSorted()).toEqual(keys)
  })

  test('in a pool that nobody has made is told so', async ({ lab }) => {
    const client = await lab.client()
    await lab.redis.flushall()
    await expect(client.cancel('job')).rejects.toMatchObject({ kind: 'POOL_UNAVAILABLE' })
  })
})

describe('a wake-up that is lost', () => {
  test('with the line of the subscriber loses no cancel', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica({ prefillMs: 60_000 })
    await lab.worker(replica)
    const { job_id: jobId } = await client.enqueue({ inputs: 'Stop' })
    await expect.poll(() => replica.seen.open).toBe(1)
    await lab.redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    expect(await listeners(lab)).toBe(0)
    await client.cancel(jobId)
    await aborted(replica)
    expect(errorOf(await readLog(lab.redis, KEYS, jobId)).code).toBe('CANCELLED')
  })

  test('without anybody noticing is made good by the beat', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica({ prefillMs: 60_000 })
    const worker = await lab.worker(replica)
    const { job_id: jobId } = await client.enqueue({ inputs: 'Stop' })
    await expect.poll(() => replica.seen.open).toBe(1)
    expect(await listeners(lab)).toBe(1)
    await sealSilently(lab, jobId)
    await aborted(replica)
    await expect.poll(() => worker.busy).toBe(0)
  })

  test('over and over does not keep later cancels from coming at once', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica({ clock: createManualClock(), tokensPerSecond: 20 })
    await lab.worker(replica)
    for (let round = 0; round < 3; round += 1) {
      await expect.poll(() => listeners(lab)).toBe(1)
      await lab.redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub')
    }
    await expect.poll(() => listeners(lab)).toBe(1)
    const { job_id: jobId } = await client.enqueue({ inputs: 'Stop', parameters: { max_new_tokens: 1000 } })
    await tokensIn(lab.redis, KEYS, jobId)
    await client.cancel(jobId)
    await aborted(replica)
    expect(only(await readLog(lab.redis, KEYS, jobId), 'error')).toHaveLength(1)
  })
})

/** Seals a job as `cancel` does, but tells nobody. */
async function sealSilently(lab: Lab, jobId: string): Promise<void> {
  const data = { code: 'CANCELLED', message: 'cancelled', retriable: false, engine: 'tgi', pool_id: POOL }
  const entry = ['event', 'error', 'data', JSON.stringify(data)]
  await lab.redis.xadd(KEYS.events(jobId), '9007199254740991-1', ...entry)
}

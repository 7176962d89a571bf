import { describe, expect } from 'vitest'
import { collect, endOf, errorOf, only, readLog } from '../support/job-log.ts'
import { KEYS } from '../support/lab.ts'
import { createManualClock } from '../support/manual-clock.ts'
import { test } from '../support/plain-queue.ts'

const OPTS = { priority: 10, removeOnComplete: true, removeOnFail: true }
const GOOD = { v: 1, inputs: 'From elsewhere', parameters: { max_new_tokens: 4 } }

describe('a plain BullMQ producer', () => {
  test('with a good body and an id of its own is served, without a `queued` event', async ({
    lab,
    queue,
  }) => {
    const client = await lab.client()
    const from = Date.now()
    await queue.add('generate', GOOD, { ...OPTS, jobId: 'foreign-1', timestamp: from - 5000 })
    const reading = collect(client, 'foreign-1')
    await lab.worker(await lab.replica())
    const events = await reading
    expect(endOf(events)).toMatchObject({ tokens_out: 4, attempts: 1 })
    const [started] = only(events, 'started')
    // Waiting counts from BullMQ's own time of the job.
    expect(started?.data.queue_time_ms).toBeGreaterThanOrEqual(5000)
    expect(started?.data.queue_time_ms).toBeLessThanOrEqual(Date.now() - from + 5000)
    expect(await client.job('foreign-1')).toMatchObject({ state: 'ended' })
    expect(await lab.redis.pttl(KEYS.events('foreign-1'))).toBeGreaterThan(0)
    await expect.poll(() => queue.getJobCounts()).toMatchObject({ active: 0, completed: 0, failed: 0 })
  })

  test('that sets no priority and keeps its jobs is served as well', async ({ lab, queue }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica())
    await queue.add('anything', GOOD, { jobId: 'foreign-2', attempts: 3 })
    await expect.poll(() => lab.redis.exists(KEYS.events('foreign-2'))).toBe(1)
    endOf(await collect(client, 'foreign-2'))
  })

  test('is run again after a fault before the first token', async ({ lab, queue }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica({ faults: [{ kind: 'crash', times: 1 }] }))
    await queue.add('generate', GOOD, { ...OPTS, jobId: 'foreign-3' })
    expect(endOf(await collect(client, 'foreign-3')).attempts).toBe(2)
  })

  test.for([
    { name: 'ahead of Redis', timestamp: () => Date.now() + 3_600_000 },
    { name: 'in seconds', timestamp: () => Math.floor(Date.now() / 1000) },
    { name: 'below zero', timestamp: () => -1 },
  ])('with a clock $name is served, and has waited no time', async ({ timestamp }, { lab, queue }) => {
    const client = await lab.client()
    await queue.add('generate', GOOD, { ...OPTS, jobId: 'clock', timestamp: timestamp() })
    const reading = collect(client, 'clock')
    await lab.worker(await lab.replica())
    expect(only(await reading, 'started')[0]?.data.queue_time_ms).toBe(0)
  })

  test('has its deadline from when its job was added, also while it runs', async ({ lab, queue }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica({ prefillMs: 60_000 }))
    await queue.add('generate', { ...GOOD, deadline_ms: 3000 }, { ...OPTS, jobId: 'foreign-4' })
    expect(errorOf(await collect(client, 'foreign-4')).code).toBe('DECODE_TIMEOUT')
  })

  test.for([
    { name: 'with our priority', opts: OPTS },
    { name: 'with none', opts: {} },
    { name: 'with one of its own', opts: { priority: 7 } },
    { name: 'with a delay beyond the deadline', opts: { delay: 3_600_000 } },
  ])('$name has its deadline also while no worker is free', async ({ opts }, { lab, queue }) => {
    const client = await lab.client()
    const replica = await lab.replica()
    const worker = await lab.worker(replica)
    await client.drain(worker.replicaId)
    await expect.poll(async () => (await client.replicas())[0]?.state).toBe('draining')
    const from = Date.now()
    await queue.add('generate', { ...GOOD, deadline_ms: 1000 }, { ...opts, jobId: 'f1' })
    await queue.add('generate', 'no body', { ...opts, jobId: 'unreadable' })
    await queue.add('generate', GOOD, { ...opts, jobId: 'later' })
    await expect.poll(() => client.job('f1').then(({ state }) => state)).toBe('failed')
    expect(Date.now() - from).toBeGreaterThanOrEqual(1000)
    expect((await client.job('f1')).error).toMatchObject({ code: 'DEADLINE_UNMET', retriable: false })
    expect(errorOf(await collect(client, 'f1')).code).toBe('DEADLINE_UNMET')
    expect(await queue.getJobState('f1')).toBe('unknown')
    expect(await client.job('unreadable')).toMatchObject({ state: 'queued' })
    expect(await client.job('later')).toMatchObject({ state: 'queued' })
    expect(replica.seen.requests).toHaveLength(0)
  })

  test('that takes its job back leaves nothing behind', async ({ lab, queue }) => {
    const client = await lab.client()
    const worker = await lab.worker(await lab.replica())
    await client.drain(worker.replicaId)
    await expect.poll(async () => (await client.replicas())[0]?.state).toBe('draining')
    await queue.add('generate', { ...GOOD, deadline_ms: 1500 }, { ...OPTS, jobId: 'back' })
    await expect.poll(() => lab.redis.zscore(KEYS.deadlines, 'back')).not.toBe(null)
    await queue.remove('back')
    await expect.poll(() => lab.redis.zscore(KEYS.deadlines, 'back')).toBe(null)
    expect((await client.jobs()).jobs).toEqual([])
    expect(await lab.redis.exists(KEYS.events('back'))).toBe(0)
  })

  test('is listed while its jobs wait, run and are over', async ({ lab, queue }) => {
    const client = await lab.client()
    const replica = await lab.replica({ clock: createManualClock(), tokensPerSecond: 50 })
    const worker = await lab.worker(replica)
    await client.drain(worker.replicaId)
    await expect.poll(async () => (await client.replicas())[0]?.state).toBe('draining')
    const timestamp = Date.now() - 5000
    await queue.add('generate', GOOD, { ...OPTS, jobId: 'first', timestamp })
    const label = { priority: 'batch', correlation_id: 'mine', deadline_ms: 60_000 }
    await queue.add('generate', { ...GOOD, ...label }, { ...OPTS, jobId: 'second', timestamp: timestamp + 1 })
    await queue.add('generate', 'no body', { ...OPTS, jobId: 'unreadable', timestamp: timestamp + 2 })
    const { deadline_ms: deadlineMs } = await client.config()
    const listed = async () => (await client.jobs()).jobs
    const waiting = { state: 'queued', priority: 'interactive' }
    const acceptedAt = (ms: number, budget = deadlineMs) => ({
      since: ms,
      accepted_at: ms,
      deadline_at: ms + budget,
    })
    await expect.poll(listed).toEqual([
      { job_id: 'unreadable', ...waiting, ...acceptedAt(timestamp + 2) },
      { job_id: 'second', ...waiting, priority: 'batch', ...acceptedAt(timestamp + 1, 60_000) },
      { job_id: 'first', ...waiting, ...acceptedAt(timestamp) },
    ])
    expect((await client.jobs({ priority: 'batch' })).jobs).toMatchObject([{ job_id: 'second' }])
    await client.undrain(worker.replicaId)
    await expect
      .poll(async () => (await listed()).map(({ state }) => state).toSorted())
      .toEqual(['failed', 'started', 'started'])
    const batch = async () => (await client.jobs({ priority: 'batch' })).jobs
    expect(await batch()).toMatchObject([
      { job_id: 'second', state: 'started', correlation_id: 'mine', deadline_at: timestamp + 60_001 },
    ])
    const [{ accepted_at: accepted } = {}] = await batch()
    // The first attempt says when it began and how long the job had waited, both in whole ms.
    expect(Math.abs(Number(accepted) - timestamp - 1)).toBeLessThanOrEqual(1)
    await client.cancel('second')
    expect(await batch()).toMatchObject([{ job_id: 'second', state: 'cancelled', code: 'CANCELLED' }])
    expect(await listed()).toContainEqual(
      expect.objectContaining({ job_id: 'unreadable', state: 'failed', code: 'INVALID_PARAMS' }),
    )
  })

  test('of more jobs than a page has finds the deadline of each', async ({ lab, queue }) => {
    const client = await lab.client({ max_queued: 10_000 })
    const worker = await lab.worker(await lab.replica())
    await client.drain(worker.replicaId)
    await expect.poll(async () => (await client.replicas())[0]?.state).toBe('draining')
    await queue.addBulk(
      Array.from({ length: 2500 }, (_, index) => ({
        name: 'generate',
        data: GOOD,
        opts: { ...OPTS, jobId: `many-${index}` },
      })),
    )
    await expect.poll(() => lab.redis.zcard(KEYS.deadlines), { timeout: 30_000 }).toBe(2500)
  })

  test.for([
    { name: 'an unknown field', body: { v: 1, inputs: 'x', proirity: 'batch' }, says: 'proirity' },
    { name: 'a wrong type', body: { v: 1, inputs: 42 }, says: 'inputs' },
    { name: 'no object', body: 'secret', says: 'object' },
    { name: 'an array', body: [1, 2], says: 'object' },
    { name: 'null', body: null, says: 'object' },
    { name: 'nothing', body: undefined, says: 'neither' },
    { name: 'another version of the contract', body: { v: 2, inputs: 'x' }, says: 'version 2' },
    {
      name: 'more tokens than the pool allows',
      body: { v: 1, inputs: 'x', parameters: { max_new_tokens: 70_000 } },
      says: '65536',
    },
  ])(
    'with $name as body has INVALID_PARAMS on its stream, and the queue goes on',
    async ({ body, says }, { lab, queue }) => {
      const client = await lab.client()
      const replica = await lab.replica()
      await queue.add('generate', body, { ...OPTS, jobId: 'bad' })
      const good = await client.enqueue({ inputs: 'Next', parameters: { max_new_tokens: 2 } })
      await lab.worker(replica, { slots: 1 })
      const events = await collect(client, 'bad')
      expect(errorOf(events)).toMatchObject({ code: 'INVALID_PARAMS', retriable: false })
      expect(errorOf(events).message).toContain(says)
      expect(errorOf(events).message).not.toContain('secret')
      expect(events).toHaveLength(1)
      endOf(await collect(client, good.job_id))
      expect(replica.seen.requests).toHaveLength(1)
      await expect
        .poll(() => queue.getJobCounts())
        .toMatchObject({ active: 0, delayed: 0, failed: 0, prioritized: 0 })
    },
  )

  test('whose job is over and still in the queue gets no deadline again', async ({ lab, queue }) => {
    const client = await lab.client()
    const worker = await lab.worker(await lab.replica())
    await client.drain(worker.replicaId)
    await expect.poll(async () => (await client.replicas())[0]?.state).toBe('draining')
    const gone = await client.enqueue({ inputs: 'Over' })
    await client.cancel(gone.job_id)
    // What a process leaves that dies between the seal and the queue.
    await queue.add('generate', { ...GOOD, deadline_ms: 1 }, { ...OPTS, jobId: gone.job_id })
    await queue.add('generate', { ...GOOD, deadline_ms: 86_400_000 }, { ...OPTS, jobId: 'waits' })
    const seen = new Set<string>()
    await expect
      .poll(async () => {
        for (const id of await lab.redis.zrange(KEYS.deadlines, '0', '-1')) seen.add(id)
        return seen
      })
      .toContain('waits')
    expect(await lab.redis.zscore(KEYS.deadlines, gone.job_id)).toBe(null)
    expect(seen).not.toContain(gone.job_id)
    await client.cancel('waits')
  })

  test('that lets BullMQ count its ids is told on the stream of that number', async ({ lab, queue }) => {
    const client = await lab.client()
    const replica = await lab.replica()
    await lab.worker(replica)
    const { id = '' } = await queue.add('generate', GOOD, OPTS)
    expect(id).toMatch(/^\d+$/)
    await expect.poll(() => readLog(lab.redis, KEYS, id)).toHaveLength(1)
    const error = errorOf(await readLog(lab.redis, KEYS, id))
    expect(error).toMatchObject({ code: 'INVALID_PARAMS', message: expect.stringContaining('job id') })
    const good = await client.enqueue({ inputs: 'Next', parameters: { max_new_tokens: 2 } })
    endOf(await collect(client, good.job_id))
  })
})

describe('a cancel of a plain BullMQ job', () => {
  test('while it waits ends it, and no worker runs it', async ({ lab, queue }) => {
    const client = await lab.client()
    await queue.add('generate', GOOD, { ...OPTS, jobId: 'foreign-5' })
    const reading = collect(client, 'foreign-5')
    expect(await client.cancel('foreign-5')).toBe('cancelled')
    const events = await reading
    expect(errorOf(events).code).toBe('CANCELLED')
    expect(only(events, 'queued')).toEqual([])
    expect(await queue.getJobState('foreign-5')).toBe('unknown')
    expect(await client.cancel('foreign-5')).toBe('already_over')
    const replica = await lab.replica()
    await lab.worker(replica)
    await client.result((await client.enqueue({ inputs: 'Next', parameters: { max_new_tokens: 2 } })).job_id)
    expect(replica.seen.requests).toHaveLength(1)
  })

  test('while it is picked up holds, whoever is first', async ({ lab, queue }) => {
    const client = await lab.client()
    const replica = await lab.replica({ prefillMs: 5, tokensPerSecond: 1000 })
    await lab.worker(replica)
    for (let round = 0; round < 60; round += 1) {
      const jobId = `race-${round}`
      await queue.add('generate', GOOD, { ...OPTS, jobId })
      const outcome = await client.cancel(jobId)
      const events = await readLog(lab.redis, KEYS, jobId)
      expect(events.at(-1)?.event).toBe(outcome === 'cancelled' ? 'error' : 'end')
      await expect.poll(() => queue.getJobState(jobId), { interval: 1 }).toBe('unknown')
      expect(await readLog(lab.redis, KEYS, jobId)).toEqual(events)
    }
    await expect.poll(() => replica.seen.open).toBe(0)
  })
})

import { describe, expect } from 'vitest'
import { collect, endOf, errorOf, only, readLog } from '../support/job-log.ts'
import { KEYS } from '../support/lab.ts'
import { test } from '../support/plain-queue.ts'

const OPTS = { priority: 10, removeOnComplete: true, removeOnFail: true }
const GOOD = { v: 1, inputs: 'From elsewhere', parameters: { max_new_tokens: 4 } }

describe('a plain BullMQ producer', () => {
  test('with a good body and an id of its own is served, without a `queued` event', async ({
    lab,
    queue,
  }) => {
    const client = await lab.client()
    await queue.add('generate', GOOD, { ...OPTS, jobId: 'foreign-1' })
    const reading = collect(client, 'foreign-1')
    await lab.worker(await lab.replica())
    const events = await reading
    expect(endOf(events)).toMatchObject({ tokens_out: 4, attempts: 1 })
    expect(events[0]).toMatchObject({ event: 'started', data: { queue_time_ms: 0 } })
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

  test('has its deadline from the first pick-up on', async ({ lab, queue }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica({ prefillMs: 60_000 }))
    await queue.add('generate', { ...GOOD, deadline_ms: 300 }, { ...OPTS, jobId: 'foreign-4' })
    expect(errorOf(await collect(client, 'foreign-4')).code).toBe('DECODE_TIMEOUT')
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

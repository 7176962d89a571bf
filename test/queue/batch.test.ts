import { Queue } from 'bullmq'
import { describe, expect, onTestFinished } from 'vitest'
import { OVER, test } from './stage.ts'

const BODY = { inputs: 'x' }

describe('two queues', () => {
  test('interactive jobs go first, then batch jobs of old producers, then batch jobs', async ({
    stage,
    redis,
  }) => {
    const plain = new Queue('jobs', { connection: redis.redis, prefix: redis.keys.queuePrefix })
    onTestFinished(() => plain.close())
    for (const id of ['b1', 'b2']) await stage.queue.add(id, BODY, 'batch')
    await plain.add('generate', BODY, { jobId: 'old', priority: 20 })
    for (const id of ['i1', 'i2']) await stage.queue.add(id, BODY, 'interactive')
    expect(await stage.queue.waiting()).toEqual({ interactive: 2, batch: 3, delayed: 0 })
    const order: string[] = []
    await stage.work({
      async run(job) {
        order.push(job.id)
        return OVER
      },
    })
    await expect.poll(() => order).toEqual(['i1', 'i2', 'old', 'b1', 'b2'])
  })

  test('batch jobs leave slots to interactive ones, which may have them all', async ({ stage }) => {
    const { runs } = await stage.work({ slots: 3, batchSlots: 2 })
    const ids = () => runs.map(({ job }) => job.id)
    for (const id of ['b1', 'b2', 'b3']) await stage.queue.add(id, BODY, 'batch')
    await expect.poll(ids).toEqual(['b1', 'b2'])
    for (const id of ['i1', 'i2']) await stage.queue.add(id, BODY, 'interactive')
    await expect.poll(ids).toEqual(['b1', 'b2', 'i1'])
    runs[0]?.end(OVER)
    await expect.poll(ids).toEqual(['b1', 'b2', 'i1', 'i2'])
    runs[1]?.end(OVER)
    await expect.poll(() => stage.queue.holds('b2')).toBe(false)
    // Two interactive ones run: the third slot is kept.
    expect(ids()).toHaveLength(4)
    runs[2]?.end(OVER)
    await expect.poll(ids).toEqual(['b1', 'b2', 'i1', 'i2', 'b3'])
  })

  test('the slot that frees next goes to an interactive job where only one is', async ({ stage }) => {
    const { runs } = await stage.work({ slots: 1 })
    for (const id of ['b1', 'b2']) await stage.queue.add(id, BODY, 'batch')
    await expect.poll(() => runs.length).toBe(1)
    await stage.queue.add('i1', BODY, 'interactive')
    runs[0]?.end(OVER)
    await expect.poll(() => runs.map(({ job }) => job.id)).toEqual(['b1', 'i1'])
  })

  test('an interactive job wakes a worker that waits, and one that is full leaves it to others', async ({
    stage,
  }) => {
    const full = await stage.work({ slots: 2, batchSlots: 1 })
    await stage.queue.add('b1', BODY, 'batch')
    await expect.poll(() => full.runs.length).toBe(1)
    await stage.queue.add('i1', BODY, 'interactive')
    await expect.poll(() => full.runs.length).toBe(2)
    const free = await stage.work({ slots: 2, batchSlots: 2 })
    for (const id of ['b2', 'i2']) await stage.queue.add(id, BODY, id === 'b2' ? 'batch' : 'interactive')
    await expect.poll(() => free.runs.map(({ job }) => job.id).toSorted()).toEqual(['b2', 'i2'])
  })

  test.for([
    { kind: 'back', delayMs: 0, attempt: 'unharmed' },
    { kind: 'back', delayMs: 300, attempt: 'spent' },
    { kind: 'refused' },
  ] as const)(
    'a batch job that comes back is in its own queue: %j',
    async (disposition, { stage, redis }) => {
      const { runs, consumer } = await stage.work()
      await stage.queue.add('b1', BODY, 'batch')
      await expect.poll(() => runs.length).toBe(1)
      consumer.shut()
      runs[0]?.end(disposition)
      const { queuePrefix } = redis.keys
      await expect
        .poll(async () => {
          const { interactive, batch, delayed } = await stage.queue.waiting()
          return [interactive, batch + delayed]
        })
        .toEqual([0, 1])
      expect(await redis.redis.exists(`${queuePrefix}:batch:b1`)).toBe(1)
      expect(await redis.redis.exists(`${queuePrefix}:jobs:b1`)).toBe(0)
      consumer.open()
      await expect.poll(() => runs.length, { timeout: 5000 }).toBe(2)
    },
  )

  test.for([
    { name: 'batch', priority: undefined, body: BODY, is: 'batch' },
    { name: 'batch', priority: 20, body: BODY, is: 'batch' },
    { name: 'batch', priority: 20, body: { ...BODY, priority: 'interactive' }, is: 'interactive' },
    { name: 'jobs', priority: 20, body: BODY, is: 'batch' },
    { name: 'jobs', priority: 10, body: BODY, is: undefined },
    { name: 'jobs', priority: undefined, body: BODY, is: undefined },
  ])(
    'a plain job in $name with priority $priority and $body is $is',
    async ({ name, priority, body, is }, { stage, redis }) => {
      const plain = new Queue(name, { connection: redis.redis, prefix: redis.keys.queuePrefix })
      onTestFinished(() => plain.close())
      await plain.add('generate', body, { jobId: 'a', ...(priority === undefined ? {} : { priority }) })
      const { runs } = await stage.work()
      await expect.poll(() => runs.length).toBe(1)
      expect(runs[0]?.job.body).toEqual(is === undefined ? body : { ...body, priority: is })
    },
  )

  test('are one to who asks, removes and counts', async ({ stage }) => {
    await stage.queue.add('a', BODY, 'interactive')
    await stage.queue.add('b', BODY, 'batch')
    expect([await stage.queue.holds('a'), await stage.queue.holds('b')]).toEqual([true, true])
    await stage.queue.removeWaiting('b')
    expect(await stage.queue.remove('a')).toBe(true)
    expect(await stage.queue.waiting()).toEqual({ interactive: 0, batch: 0, delayed: 0 })
  })

  test('remove nothing that a worker of either holds', async ({ stage }) => {
    const { runs } = await stage.work()
    await stage.queue.add('b', BODY, 'batch', 10)
    await expect.poll(() => runs.length).toBe(1)
    await stage.queue.removeWaiting('b')
    expect(await stage.queue.remove('b')).toBe(false)
    expect([await stage.queue.holds('b'), await stage.queue.heldBytes()]).toEqual([true, 10])
  })
})

describe('the bytes that jobs hold', () => {
  test('are counted once a job, until it is over or removed', async ({ stage }) => {
    for (let times = 0; times < 3; times += 1) await stage.queue.add('a', BODY, 'interactive', 100)
    await stage.queue.add('b', BODY, 'batch', 20)
    await stage.queue.add('c', BODY, 'batch', 3)
    expect(await stage.queue.heldBytes()).toBe(123)
    await stage.queue.removeWaiting('b')
    await stage.queue.removeWaiting('b')
    expect(await stage.queue.heldBytes()).toBe(103)
    const { runs } = await stage.work()
    await expect.poll(() => runs.length).toBe(1)
    runs[0]?.end({ kind: 'back', delayMs: 0, attempt: 'spent' })
    await expect.poll(() => runs.length).toBe(2)
    expect(await stage.queue.heldBytes()).toBe(103)
    runs[1]?.end(OVER)
    await expect.poll(() => stage.queue.heldBytes()).toBe(3)
    await expect.poll(() => runs.length).toBe(3)
    runs[2]?.end(OVER)
    await expect.poll(() => stage.queue.heldBytes()).toBe(0)
  })

  test('of producers and workers that died are struck out, those of jobs that are there stay', async ({
    stage,
    redis,
  }) => {
    const count = 700
    await Promise.all(
      Array.from({ length: count }, (_, n) =>
        stage.queue.add(`j${n}`, BODY, n % 2 === 0 ? 'batch' : 'interactive', 5),
      ),
    )
    // As a worker does that dies between the two: out of the queue, and not out of the account.
    for (let n = 0; n < 100; n += 1) {
      const name = n % 2 === 0 ? 'batch' : 'jobs'
      await redis.redis.zrem(`${redis.keys.queuePrefix}:${name}:prioritized`, `j${n}`)
      await redis.redis.del(`${redis.keys.queuePrefix}:${name}:j${n}`)
    }
    await expect
      .poll(
        async () => {
          await stage.queue.tidy()
          return stage.queue.heldBytes()
        },
        { interval: 1, timeout: 20_000 },
      )
      .toBe(600 * 5)
    for (let more = 0; more < 40; more += 1) await stage.queue.tidy()
    expect(await stage.queue.heldBytes()).toBe(600 * 5)
  })
})

import { Worker as PlainWorker } from 'bullmq'
import { describe, expect } from 'vitest'
import { LOCK_MS, OVER, test } from './stage.ts'

const BODY = { inputs: 'x' }

describe('a consumer', () => {
  test('runs a job once and takes it out of the queue', async ({ stage }) => {
    const { runs } = await stage.work()
    await stage.queue.add('a', BODY, 'interactive')
    await expect.poll(() => runs.length).toBe(1)
    expect(runs[0]?.job).toMatchObject({ id: 'a', body: BODY, handBacks: 0 })
    expect(await stage.queue.holds('a')).toBe(true)
    runs[0]?.end(OVER)
    await expect.poll(() => stage.queue.holds('a')).toBe(false)
    expect(runs).toHaveLength(1)
  })

  test('takes as many jobs at once as it has slots', async ({ stage }) => {
    const { runs } = await stage.work({ slots: 3 })
    for (const id of ['a', 'b', 'c', 'd', 'e']) await stage.queue.add(id, BODY, 'interactive')
    await expect.poll(() => runs.length).toBe(3)
    expect((await stage.queue.waiting()).interactive).toBe(2)
    runs[1]?.end(OVER)
    await expect.poll(() => runs.length).toBe(4)
    expect((await stage.queue.waiting()).interactive).toBe(1)
  })

  test('takes interactive jobs first, and each kind in its order', async ({ stage }) => {
    const order: string[] = []
    for (const id of ['b1', 'b2']) await stage.queue.add(id, BODY, 'batch')
    for (const id of ['i1', 'i2']) await stage.queue.add(id, BODY, 'interactive')
    await stage.work({
      async run(job) {
        order.push(job.id)
        return OVER
      },
    })
    await expect.poll(() => order).toEqual(['i1', 'i2', 'b1', 'b2'])
  })

  test('gives a refused job back to the head of the queue', async ({ stage }) => {
    const order: string[] = []
    for (const id of ['a', 'b', 'c']) await stage.queue.add(id, BODY, 'interactive')
    await stage.work({
      async run(job) {
        order.push(job.id)
        return order.length === 1 ? { kind: 'refused' } : OVER
      },
    })
    await expect.poll(() => order).toEqual(['a', 'a', 'b', 'c'])
  })

  test.for([{ kind: 'refused' }, { kind: 'back', delayMs: 0, attempt: 'unharmed' }] as const)(
    'wakes whoever waits for a job when it puts one back: %j',
    async (disposition, { stage, redis }) => {
      // With its one slot in use it waits for nothing itself.
      const { consumer, runs } = await stage.work({ slots: 1 })
      await stage.queue.add('a', BODY, 'interactive')
      await expect.poll(() => runs.length).toBe(1)
      await redis.redis.del(`${redis.keys.queuePrefix}:jobs:marker`)
      consumer.shut()
      runs[0]?.end(disposition)
      await expect
        .poll(() => redis.redis.zrange(`${redis.keys.queuePrefix}:jobs:marker`, '0', '-1'))
        .toEqual(['0'])
      expect(await stage.queue.waiting()).toMatchObject({ interactive: 1 })
      expect(runs).toHaveLength(1)
    },
  )

  test('counts attempts that were begun and did no harm, and no others', async ({ stage }) => {
    const { runs } = await stage.work()
    await stage.queue.add('a', BODY, 'interactive')
    const counted: (number | undefined)[] = []
    const costs = ['unharmed', 'spent', 'unharmed', 'not_begun', 'unharmed'] as const
    for (const [index, attempt] of costs.entries()) {
      await expect.poll(() => runs.length).toBe(index + 1)
      counted.push(runs[index]?.job.handBacks)
      runs[index]?.end({ kind: 'back', delayMs: 0, attempt })
    }
    await expect.poll(() => runs.length).toBe(6)
    expect([...counted, runs[5]?.job.handBacks]).toEqual([0, 1, 1, 2, 2, 3])
  })

  test('remembers what a job failed together with', async ({ stage }) => {
    const { runs } = await stage.work()
    await stage.queue.add('a', BODY, 'interactive')
    const backs = [
      { attempt: 'spent', failedWith: '1.x' },
      { attempt: 'unharmed' },
      { attempt: 'spent', failedWith: '1.y' },
    ] as const
    for (const [index, back] of backs.entries()) {
      await expect.poll(() => runs.length).toBe(index + 1)
      runs[index]?.end({ kind: 'back', delayMs: 0, ...back })
    }
    await expect.poll(() => runs.length).toBe(4)
    expect(runs.map(({ job }) => job.failedWith)).toEqual([[], ['1.x'], ['1.x'], ['1.x', '1.y']])
    expect(runs[3]?.job.handBacks).toBe(1)
  })

  test.for([
    { attempt: 'unharmed', order: ['first', 'first', 'second', 'third'] },
    { attempt: 'spent', order: ['first', 'second', 'third', 'first'] },
    { attempt: 'not_begun', order: ['first', 'second', 'third', 'first'] },
  ] as const)(
    'puts a job that comes back later and is $attempt in its place',
    async ({ attempt, order }, { stage }) => {
      // One slot, and a second job that holds it until the first one is due again.
      const { runs } = await stage.work({ slots: 1 })
      for (const id of ['first', 'holder', 'second', 'third']) await stage.queue.add(id, BODY, 'interactive')
      await expect.poll(() => runs.length).toBe(1)
      runs[0]?.end({ kind: 'back', delayMs: 1000, attempt })
      await expect.poll(() => stage.queue.waiting()).toMatchObject({ delayed: 1 })
      const due = Date.now() + 1000
      await expect.poll(() => runs.length).toBe(2)
      const holder = runs[1]
      // Due, and looked at when the slot is free.
      await expect.poll(() => Date.now()).toBeGreaterThan(due + 100)
      holder?.end(OVER)
      for (let taken = 2; taken < 5; taken += 1) {
        await expect.poll(() => runs.length).toBe(taken + 1)
        runs[taken]?.end(OVER)
      }
      const ids = runs.map(({ job }) => job.id).filter((id) => id !== holder?.job.id)
      expect(ids).toEqual(order)
    },
  )

  test('does not count refusals', async ({ stage }) => {
    const { runs } = await stage.work()
    await stage.queue.add('a', BODY, 'interactive')
    await expect.poll(() => runs.length).toBe(1)
    runs[0]?.end({ kind: 'refused' })
    await expect.poll(() => runs.length).toBe(2)
    expect(runs[1]?.job.handBacks).toBe(0)
  })

  test('keeps a job away for as long as it was asked', async ({ stage }) => {
    const { runs } = await stage.work()
    await stage.queue.add('a', BODY, 'interactive')
    await expect.poll(() => runs.length).toBe(1)
    const from = performance.now()
    runs[0]?.end({ kind: 'back', delayMs: 300, attempt: 'spent' })
    await expect.poll(() => stage.queue.waiting()).toMatchObject({ delayed: 1 })
    await expect.poll(() => runs.length).toBe(2)
    expect((runs[1]?.at ?? 0) - from).toBeGreaterThan(250)
  })

  test('that is shut takes nothing more, and goes on when it is open', async ({ stage }) => {
    const { consumer, runs } = await stage.work({ slots: 2 })
    await stage.queue.add('a', BODY, 'interactive')
    await expect.poll(() => runs.length).toBe(1)
    consumer.shut()
    for (const id of ['b', 'c', 'd']) await stage.queue.add(id, BODY, 'interactive')
    // One job may have been on its way already.
    const before = Math.max(1, runs.length)
    runs[0]?.end(OVER)
    await expect.poll(() => stage.queue.holds('a')).toBe(false)
    expect(runs.length).toBeLessThanOrEqual(before + 1)
    consumer.open()
    await expect.poll(() => runs.length).toBeGreaterThanOrEqual(3)
  })

  test('that is closed waits for what runs', async ({ stage }) => {
    const { consumer, runs } = await stage.work()
    await stage.queue.add('a', BODY, 'interactive')
    await expect.poll(() => runs.length).toBe(1)
    let closed = false
    const closing = consumer.close().then(() => (closed = true))
    await stage.queue.add('b', BODY, 'interactive')
    expect(closed).toBe(false)
    runs[0]?.end(OVER)
    await closing
    expect(await stage.queue.holds('a')).toBe(false)
    expect(runs).toHaveLength(1)
    await consumer.close()
  })

  test('that was never opened closes', async ({ stage }) => {
    const { consumer } = await stage.work()
    await consumer.close()
    consumer.open()
    await stage.queue.add('a', BODY, 'interactive')
    expect(await stage.queue.holds('a')).toBe(true)
  })

  test('takes more at once after it was given more slots, while one still runs', async ({ stage }) => {
    const { consumer, runs } = await stage.work({ slots: 1 })
    for (const id of ['a', 'b', 'c']) await stage.queue.add(id, BODY, 'interactive')
    await expect.poll(() => runs.length).toBe(1)
    consumer.resize(3)
    await expect.poll(() => runs.length).toBe(3)
  })

  test('tells of jobs that BullMQ gives up', async ({ stage, redis }) => {
    // A worker that takes the job and dies, for the eleventh time.
    const dead = new PlainWorker('jobs', undefined, {
      connection: await redis.connect('queue'),
      prefix: redis.keys.queuePrefix,
      autorun: false,
      lockDuration: 50,
      skipLockRenewal: true,
    })
    await stage.queue.add('a', BODY, 'interactive')
    expect((await dead.getNextJob('dead'))?.id).toBe('a')
    await dead.close()
    await redis.redis.hset(`${redis.keys.queuePrefix}:jobs:a`, 'stc', 10)
    const { givenUp, runs } = await stage.work()
    await expect.poll(() => givenUp).toEqual(['a'])
    expect(runs).toEqual([])
    expect(await stage.queue.holds('a')).toBe(false)
  })
})

describe('the lock on a job', () => {
  test('is kept for as long as the job runs', async ({ stage }) => {
    const first = await stage.work({ lockMs: 2 * LOCK_MS })
    const second = await stage.work({ lockMs: 2 * LOCK_MS })
    await stage.queue.add('a', BODY, 'interactive')
    await expect.poll(() => first.runs.length + second.runs.length).toBe(1)
    const run = first.runs[0] ?? second.runs[0]
    const until = performance.now() + 2.4 * LOCK_MS
    await expect.poll(() => performance.now()).toBeGreaterThan(until)
    expect(first.runs.length + second.runs.length).toBe(1)
    expect(run?.lostAt()).toBe(undefined)
    expect(await run?.job.confirmLock()).toBe(true)
  })

  test('is not trusted any more before another worker has the job, when Redis falls silent', async ({
    stage,
    proxy,
  }) => {
    const first = await stage.work({ url: proxy.url })
    await stage.queue.add('a', BODY, 'interactive')
    await expect.poll(() => first.runs.length).toBe(1)
    const second = await stage.work()
    proxy.stall()
    await expect.poll(() => second.runs.length).toBe(1)
    const lostAt = first.runs[0]?.lostAt()
    expect(lostAt).toBeDefined()
    expect(lostAt).toBeLessThan(second.runs[0]?.at ?? 0)
    proxy.pass()
  })

  test('that another worker has is not confirmed, and the job stays with that one', async ({
    stage,
    proxy,
  }) => {
    const first = await stage.work({ url: proxy.url })
    await stage.queue.add('a', BODY, 'interactive')
    await expect.poll(() => first.runs.length).toBe(1)
    const second = await stage.work()
    proxy.stall()
    await expect.poll(() => second.runs.length).toBe(1)
    first.consumer.shut()
    proxy.pass()
    expect(await first.runs[0]?.job.confirmLock()).toBe(false)
    expect(await second.runs[0]?.job.confirmLock()).toBe(true)
    first.runs[0]?.end({ kind: 'back', delayMs: 0, attempt: 'spent' })
    await first.consumer.close()
    expect(await second.runs[0]?.job.confirmLock()).toBe(true)
    second.runs[0]?.end(OVER)
    await expect.poll(() => stage.queue.holds('a')).toBe(false)
    expect(second.runs).toHaveLength(1)
  })

  test('survives a line that breaks and comes back', async ({ stage, proxy }) => {
    const first = await stage.work({ url: proxy.url, lockMs: 2 * LOCK_MS })
    await stage.queue.add('a', BODY, 'interactive')
    await expect.poll(() => first.runs.length).toBe(1)
    proxy.cut()
    proxy.pass()
    expect(await first.runs[0]?.job.confirmLock()).toBe(true)
    const until = performance.now() + 2.4 * LOCK_MS
    await expect.poll(() => performance.now()).toBeGreaterThan(until)
    expect(first.runs[0]?.lostAt()).toBe(undefined)
    first.runs[0]?.end(OVER)
    await expect.poll(() => stage.queue.holds('a')).toBe(false)
  })
})

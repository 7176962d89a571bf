import { expect } from 'vitest'
import { createCancelledJobs } from '../../src/attempt/cancelled-jobs.ts'
import { OVER, test } from '../queue/stage.ts'

test('cancelled jobs that still wait are found behind thousands that do not, and each is removed once', async ({
  stage,
  redis: { redis, keys },
}) => {
  const index = keys.index('cancelled')
  const ids = Array.from({ length: 3500 }, (_, at) => `job-${at}`)
  // Twenty in each millisecond.
  await redis.zadd(index, ...ids.flatMap((id, at) => [1_800_000_000_000 + Math.floor(at / 20), id]))
  const left = [0, 999, 1000, 1001, 1002, 2999, 3499].map((at) => `job-${at}`)
  for (const [at, id] of left.entries())
    await stage.queue.add(id, {}, at % 2 === 0 ? 'interactive' : 'batch', 10)
  await stage.queue.add('wanted', {}, 'interactive', 10)
  const removed: string[] = []
  const removeWaiting = async (id: string) => {
    if (await stage.queue.holds(id)) removed.push(id)
    await stage.queue.removeWaiting(id)
  }
  const cancelled = createCancelledJobs(redis, keys, { removeWaiting })
  for (let sweep = 0; sweep < 5; sweep += 1) await cancelled.remove()
  expect(removed.toSorted()).toEqual(left.toSorted())
  expect(await stage.queue.waiting()).toMatchObject({ interactive: 1, batch: 0 })
  expect(await stage.queue.heldBytes()).toBe(10)

  // Later ones are found by a look that has been to the end.
  await stage.queue.add('late', {}, 'interactive')
  await redis.zadd(index, 1_800_000_000_174, 'late')
  await cancelled.remove()
  expect(removed.at(-1)).toBe('late')
})

test('a cancelled job that runs stays with its worker', async ({ stage, redis: { redis, keys } }) => {
  const { runs } = await stage.work()
  await stage.queue.add('runs', {}, 'interactive')
  await expect.poll(() => runs.length).toBe(1)
  await redis.zadd(keys.index('cancelled'), 1, 'runs')
  await createCancelledJobs(redis, keys, stage.queue).remove()
  expect(await stage.queue.holds('runs')).toBe(true)
  expect(await runs[0]?.job.confirmLock()).toBe(true)
  runs[0]?.end(OVER)
  await expect.poll(() => stage.queue.holds('runs')).toBe(false)
})

import { expect, onTestFinished, test } from 'vitest'
import { watchMemory } from '../../src/client/memory-watch.ts'
import { startRedisServer } from '../../src/redis/server.ts'
import type { Lab } from '../support/lab.ts'
import { labOn } from '../support/own-redis.ts'

/** A lab on a server with so little memory. */
async function labWith(maxMemory: string): Promise<Lab> {
  const server = await startRedisServer({ args: ['--maxmemory', maxMemory] })
  onTestFinished(() => server.stop())
  return labOn(server.url)
}

/** How often Redis itself has refused for want of memory. */
async function refusals({ redis }: Lab): Promise<string[]> {
  return (await redis.info('errorstats')).match(/errorstat_OOM\S*/g) ?? []
}

test('a flood from several processes stays below the share of memory, and room is used again', async () => {
  const lab = await labWith('5mb')
  const client = await lab.client()
  const clients = [client, await lab.client(), await lab.client()]
  const inputs = 'x'.repeat(60_000)
  const outcomes = await Promise.allSettled(
    Array.from({ length: 80 }, (_, n) => (clients[n % 3] ?? client).enqueue({ inputs })),
  )
  const accepted = outcomes.flatMap((one) =>
    one.status === 'fulfilled' && one.value ? [one.value.job_id] : [],
  )
  expect(accepted.length).toBeGreaterThan(10)
  const refused = outcomes.flatMap((one) => (one.status === 'rejected' ? [one.reason as unknown] : []))
  expect(refused.length).toBeGreaterThan(20)
  for (const reason of refused) expect(reason).toMatchObject({ kind: 'ADMISSION_REJECT', retryAfterMs: 1000 })
  expect(await refusals(lab)).toEqual([])
  await Promise.all(accepted.map((id) => client.forget(id)))
  await expect.poll(() => client.enqueue({ inputs }).catch(() => undefined)).toBeDefined()
})

test('what others store counts, and each pool may say how much is too much', async () => {
  const lab = await labWith('16mb')
  const client = await lab.client()
  const others = Array.from({ length: 14 }, (_, n) => `another-${n}`)
  for (const key of others) await lab.redis.set(key, 'x'.repeat(900_000))
  const told =
    /^Redis is nearly full: 1\d\.\d MB used of its maxmemory of 16\.0 MB; pool lab takes no new jobs above 12\.8 MB \(80 %, the pool's max_memory_percent\)\. Try again when jobs have ended, or raise maxmemory$/
  await expect
    .poll(() => client.enqueue({ inputs: 'x' }).catch((error: unknown) => error))
    .toMatchObject({ kind: 'ADMISSION_REJECT', message: expect.stringMatching(told) })
  await client.set({ max_memory_percent: 100 })
  await client.enqueue({ inputs: 'x' })
  await client.set({ max_memory_percent: 80 })
  await lab.redis.del(others)
  await expect.poll(() => client.enqueue({ inputs: 'x' }).catch(() => undefined)).toBeDefined()
})

test('readings are shared, and what is added between two of them takes a quarter of the room at most', async () => {
  let reads = 0
  const watch = watchMemory(async () => {
    reads += 1
    return { used: 600, max: 1000 }
  })
  expect([watch.use(), watch.hasRoom(1e9, 1)]).toEqual([undefined, true])
  await Promise.all([watch.refresh(), watch.refresh()])
  await watch.refresh()
  expect(reads).toBe(1)
  const fits = () => [50, 49, 10, 9].map((bytes) => watch.hasRoom(bytes, 800))
  expect(fits()).toEqual([true, true, true, true])
  const adding = Promise.withResolvers<void>()
  const added = watch.count(31, () => adding.promise)
  await watch.count(10, async () => undefined)
  await expect(watch.count(9, async () => Promise.reject(new Error('refused')))).rejects.toThrow('refused')
  expect(fits()).toEqual([false, false, false, true])
  // The next reading has seen what was added before it was sent.
  await watch.read()
  expect(fits()).toEqual([false, false, true, true])
  adding.resolve()
  await added
  await watch.read()
  expect([reads, ...fits()]).toEqual([3, true, true, true, true])
})

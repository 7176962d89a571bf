import { expect } from 'vitest'
import type { PoolClient } from '../../src/client/pool-client.ts'
import type { JobEvent } from '../../src/contract/event.ts'
import { collect, endOf, only, textOf } from '../support/job-log.ts'
import { test } from '../support/lab.ts'

/** A job of a second and a half. */
const TOKENS = 60
const TOKENS_PER_SECOND = 40
const WORKERS = 4
/** Short: most of what runs when a worker is told to stop has to be handed over. */
const OPTIONS = { slots: 4, graceMs: 200 }
/** At least so many jobs, and so many at once with somebody who reads, as long as the rolling lasts. */
const JOBS = 40
const AT_ONCE = 20

/** Puts jobs in and reads each to its end, until it is enough and there are as many as are wanted. */
async function load(client: PoolClient, isEnough: () => boolean): Promise<JobEvent[][]> {
  const read: JobEvent[][] = []
  let begun = 0
  const consumer = async () => {
    while (!isEnough() || begun < JOBS) {
      const inputs = `Story ${begun}: once upon a time`
      begun += 1
      const { job_id: jobId } = await client.enqueue({ inputs, parameters: { max_new_tokens: TOKENS } })
      read.push(await collect(client, jobId))
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, consumer))
  return read
}

test('all workers of a pool are replaced under load, and nobody who reads sees more than a `started`', async ({
  lab,
}) => {
  const client = await lab.client()
  const replicas = await Promise.all(
    Array.from({ length: WORKERS }, () => lab.replica({ tokensPerSecond: TOKENS_PER_SECOND })),
  )
  const workers = await Promise.all(replicas.map((replica) => lab.process(replica, OPTIONS)))
  await expect
    .poll(async () => (await client.replicas()).map(({ state }) => state))
    .toEqual(Array.from({ length: WORKERS }, () => 'ready'))

  let isRolled = false
  const loading = load(client, () => isRolled)
  // What goes wrong with it is told below, not while the workers roll.
  loading.catch(() => undefined)
  try {
    for (const [index, replica] of replicas.entries()) {
      const old = workers[index]
      await expect.poll(() => replica.seen.open, { interval: 5 }).toBeGreaterThan(0)
      old?.kill('SIGTERM')
      expect(await old?.exited).toEqual({ code: 0, signal: null })
      await expect.poll(() => replica.seen.open).toBe(0)
      workers[index] = await lab.process(replica, OPTIONS)
      const before = replica.seen.requests.length
      await expect.poll(() => replica.seen.requests.length).toBeGreaterThan(before)
    }
  } finally {
    isRolled = true
  }
  const jobs = await loading

  expect(jobs.length).toBeGreaterThanOrEqual(JOBS)
  for (const events of jobs) {
    const end = endOf(events)
    expect(end).toMatchObject({ tokens_out: TOKENS, finish_reason: 'length', text: textOf(events) })
    expect(only(events, 'started').at(-1)?.data.attempt).toBe(end.attempts)
  }
  const resumed = jobs.filter((events) => only(events, 'started').some(({ data }) => data.next_token > 0))
  expect(resumed.length).toBeGreaterThanOrEqual(WORKERS)
  expect(await client.waiting()).toEqual({ interactive: 0, batch: 0, delayed: 0 })
  expect(replicas.map(({ seen }) => seen.open)).toEqual([0, 0, 0, 0])
  expect(Math.max(...replicas.map(({ seen }) => seen.most))).toBeLessThanOrEqual(OPTIONS.slots)
})

test('a replica that is drained, and another that comes, lose nothing either', async ({ lab }) => {
  const client = await lab.client()
  const replicas = await Promise.all(
    Array.from({ length: WORKERS }, () => lab.replica({ tokensPerSecond: TOKENS_PER_SECOND })),
  )
  const [first, ...others] = replicas.map((replica, index) => ({ replica, replicaId: `gpu-${index}` }))
  if (first === undefined) throw new Error('no replica')
  await lab.process(first.replica, { ...OPTIONS, replicaId: first.replicaId })

  let isEnough = false
  const loading = load(client, () => isEnough)
  loading.catch(() => undefined)
  try {
    // Up: one worker after another takes its part.
    for (const { replica, replicaId } of others) {
      await lab.process(replica, { ...OPTIONS, replicaId })
      await expect.poll(() => replica.seen.open).toBeGreaterThan(0)
    }
    // Down: all but the last one are drained under load.
    for (const { replica, replicaId } of [first, ...others.slice(0, -1)]) {
      await client.drain(replicaId)
      await expect
        .poll(async () => (await client.replicas()).find(({ replica_id: id }) => id === replicaId))
        .toMatchObject({ state: 'draining', busy: 0 })
      expect(replica.seen.open).toBe(0)
    }
  } finally {
    isEnough = true
  }
  const jobs = await loading
  for (const events of jobs) expect(endOf(events)).toMatchObject({ tokens_out: TOKENS, text: textOf(events) })
  expect((await client.replicas()).map(({ state }) => state)).toEqual([
    'draining',
    'draining',
    'draining',
    'ready',
  ])
})

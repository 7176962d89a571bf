import { describe, expect } from 'vitest'
import { deletePool } from '../../src/client/delete-pool.ts'
import { openPool } from '../../src/client/pools.ts'
import type { PoolClient } from '../../src/client/pool-client.ts'
import { poolKeys } from '../../src/contract/keys.ts'
import type { PoolKeys } from '../../src/contract/keys.ts'
import { MARK_TTL_MS } from '../../src/pool/deletion.ts'
import { errorSeal } from '../../src/stream/seal.ts'
import { ANYTHING, createEventLog } from '../../src/stream/event-log.ts'
import { KEYS, POOL, test as base } from '../support/lab.ts'
import type { Lab } from '../support/lab.ts'
import { createManualClock } from '../support/manual-clock.ts'

const JOB = { inputs: 'hello', parameters: { max_new_tokens: 5 } }
const LONG = { inputs: 'hello', parameters: { max_new_tokens: 1000 } }

const test = base
  /** Another pool, perhaps under another prefix, on the same server. */
  .extend('other', async ({ lab }, { onCleanup }) => {
    const open: PoolClient[] = []
    onCleanup(async () => void (await Promise.all(open.map((client) => client.close()))))
    return async (pool: string, prefix?: string): Promise<PoolClient> => {
      const client = await openPool({ redisUrl: lab.redisUrl, pool, prefix })
      open.push(client)
      return client
    }
  })

/** All keys of a pool but the mark, which must be there and expire. */
async function keysLeft({ redis }: Lab, keys: PoolKeys = KEYS): Promise<string[]> {
  const all = await redis.keys('*')
  expect(await redis.pttl(keys.config)).toBeGreaterThan(0)
  expect(await redis.pttl(keys.config)).toBeLessThanOrEqual(MARK_TTL_MS)
  return all.filter((key) => key.startsWith(`${keys.queuePrefix}:`) && key !== keys.config)
}

/** A replica that generates nothing until the test's end, its worker, and a job that runs on it. */
async function runningJob(lab: Lab, client: PoolClient) {
  const replica = await lab.replica({ clock: createManualClock(), tokensPerSecond: 50 })
  const worker = await lab.worker(replica)
  const { job_id: jobId } = await client.enqueue(LONG)
  await expect.poll(() => replica.seen.open).toBe(1)
  return { replica, worker, jobId }
}

describe('deleting a pool', () => {
  test('removes every key of it and its name, and nothing of other pools and prefixes', async ({
    lab,
    other,
  }) => {
    const mine = await other('lab', 'a*[b]?')
    const others = await Promise.all([
      other('lab2', 'a*[b]?'),
      other('la', 'a*[b]?'),
      other('lab', 'axb'),
      other('lab', 'axbxb'),
      other('lab'),
    ])
    for (const client of [mine, ...others]) {
      await client.create({ max_queued: 7 })
      await client.enqueue(JOB, { jobId: 'waits' })
      await client.enqueue({ ...JOB, priority: 'batch' })
      await client.enqueue(JOB, { jobId: 'over' })
      await client.cancel('over')
    }
    const before = await mine.waiting()
    expect(before).toMatchObject({ interactive: 1, batch: 1 })
    await mine.delete()
    expect(await keysLeft(lab, poolKeys('lab', 'a*[b]?'))).toEqual([])
    await expect(mine.config()).rejects.toMatchObject({ kind: 'POOL_UNAVAILABLE', message: /was deleted/ })
    for (const client of others) {
      expect(await client.config()).toMatchObject({ max_queued: 7 })
      expect(await client.waiting()).toEqual(before)
      expect(await client.job('waits')).toMatchObject({ state: 'queued' })
      expect(await client.job('over')).toMatchObject({ state: 'cancelled' })
    }
  })

  test('ends each of many jobs, although others end by themselves meanwhile', async ({ lab }) => {
    const client = await lab.client()
    // More than one look at the index finds.
    const ids = Array.from({ length: 1100 }, (_, index) => `j-${String(index).padStart(4, '0')}`)
    await Promise.all(ids.map((jobId) => client.enqueue(JOB, { jobId })))
    const inOrder = await lab.redis.zrange(KEYS.index('queued'), '0', '-1')
    const byThemselves = inOrder.slice(900, 1000)
    const log = createEventLog(lab.redis, KEYS)
    const end = (jobId: string) =>
      log.write({
        jobId,
        expect: ANYTHING,
        entries: [errorSeal('INTERNAL', { message: 'over', pool_id: POOL })],
        deadlineAt: 0,
        retentionMs: 60_000,
      })
    const sealed: string[] = []
    let others: Promise<unknown> | undefined
    await deletePool({
      redis: lab.redis,
      keys: KEYS,
      log,
      force: false,
      async onSealed(jobId) {
        sealed.push(jobId)
        others ??= Promise.all(byThemselves.map(end))
        await others
      },
    })
    expect(sealed.toSorted()).toEqual(ids.filter((id) => !byThemselves.includes(id)))
  })

  test('ends its jobs for those who read them, and refuses new ones', async ({ lab, other }) => {
    const client = await lab.client()
    const { job_id: jobId } = await client.enqueue(JOB)
    const events = client.events(jobId)
    expect((await events.next()).value).toMatchObject({ event: 'queued' })
    const next = events.next()
    const contents: unknown[] = []
    await client.delete({ confirm: (found) => void contents.push(found) })
    expect(contents).toEqual([{ unfinishedJobs: 1, leasedReplicas: [] }])
    // As a rule the event arrives; a reader that was busy just then finds nothing any more.
    const end = await next.then(
      ({ value }) => value?.data,
      (error: unknown) => error,
    )
    expect([(end as { code?: string }).code, (end as { kind?: string }).kind]).toContainEqual(
      expect.stringMatching(/^(CANCELLED|GONE)$/),
    )
    await expect(client.events(jobId, { after: '0-1' }).next()).rejects.toMatchObject({ kind: 'GONE' })
    for (const call of [
      () => client.enqueue(JOB),
      () => client.result(jobId),
      () => client.cancel(jobId),
      () => client.set({}),
    ])
      await expect(call()).rejects.toMatchObject({ kind: 'POOL_UNAVAILABLE', message: /was deleted/ })
    expect(await keysLeft(lab)).toEqual([])
    await expect((await other('never-made')).delete()).rejects.toMatchObject({ kind: 'POOL_UNAVAILABLE' })
  })

  test('is refused while a worker holds a lease, and changes nothing then', async ({ lab }) => {
    const client = await lab.client()
    const { worker, jobId, replica } = await runningJob(lab, client)
    const refused = expect(client.delete()).rejects
    await refused.toMatchObject({
      kind: 'POOL_IN_USE',
      message: expect.stringContaining(`workers hold replica ${worker.replicaId}.`),
    })
    await expect(
      client.delete({ force: true, confirm: () => Promise.reject(new Error('no')) }),
    ).rejects.toThrow('no')
    expect(await client.job(jobId)).toMatchObject({ state: 'started' })
    expect([worker.state, replica.seen.open]).toEqual(['ready', 1])
    await worker.stop(0)
    await client.delete()
    expect(await keysLeft(lab)).toEqual([])
  })

  test('by force stops its workers, which start again only when it is made anew', async ({ lab }) => {
    const client = await lab.client({ max_queued: 7 })
    const { worker, replica, jobId } = await runningJob(lab, client)
    const standby = await lab.worker(replica)
    await expect
      .poll(async () => (await client.replicas()).map(({ state }) => state))
      .toEqual(['ready', 'standby'])
    const reading = expect(client.result(jobId)).rejects.toMatchObject({
      kind: expect.stringMatching(/^(CANCELLED|GONE|POOL_UNAVAILABLE)$/),
    })
    await client.delete({ force: true })
    await reading
    await worker.poolDeleted
    await standby.poolDeleted
    await Promise.all([worker.stop(), standby.stop()])
    await expect.poll(() => [worker.busy, replica.seen.open]).toEqual([0, 0])
    expect(await keysLeft(lab)).toEqual([])
    await expect(lab.worker(replica)).rejects.toMatchObject({
      kind: 'POOL_UNAVAILABLE',
      message: expect.stringContaining(`tgi-pool pool create --pool ${POOL}`),
    })
    expect(await keysLeft(lab)).toEqual([])
    // What a process that was late has written goes, too.
    await lab.redis.set(`${KEYS.queuePrefix}:jobs:late`, 'x')
    await client.create()
    expect(await client.config()).toMatchObject({ max_queued: 10_000 })
    expect(await lab.redis.exists(`${KEYS.queuePrefix}:jobs:late`)).toBe(0)
    expect(await lab.redis.pttl(KEYS.config)).toBeLessThan(0)
    await lab.worker(await lab.replica())
    expect((await client.result((await client.enqueue(JOB)).job_id)).end.tokens_out).toBe(5)
  })

  test('by force works beside a worker that is frozen, which leaves nothing when it wakes', async ({
    lab,
  }) => {
    const client = await lab.client()
    const replica = await lab.replica({ clock: createManualClock(), tokensPerSecond: 50 })
    const child = await lab.process(replica)
    await client.enqueue(LONG)
    await expect.poll(() => replica.seen.open).toBe(1)
    child.kill('SIGSTOP')
    await client.delete({ force: true })
    expect(await keysLeft(lab)).toEqual([])
    child.kill('SIGCONT')
    await child.hasSaid('pool was deleted; stopping')
    await child.exited
    // Its lease, if it took it again, expires.
    await expect.poll(() => keysLeft(lab)).toEqual([])
  })

  test('that was interrupted leaves the pool closed and listed, and the next call goes on', async ({
    lab,
    other,
  }) => {
    const client = await lab.client()
    const { job_id: jobId } = await client.enqueue(JOB)
    // A worker that does not let go, as one of an older version.
    await lab.redis.hset(KEYS.replicas, 'old', '{}')
    await lab.redis.set(KEYS.lease('old'), 'its-worker')
    const doomed = await other(POOL)
    const deleting = expect(doomed.delete({ force: true })).rejects.toMatchObject({
      kind: 'REDIS_UNAVAILABLE',
    })
    await expect.poll(() => lab.redis.zscore(KEYS.index('cancelled'), jobId)).not.toBeNull()
    await doomed.close()
    await deleting
    const closed = { kind: 'POOL_UNAVAILABLE', message: expect.stringContaining(`pool delete ${POOL}`) }
    for (const call of [() => client.enqueue(JOB), () => client.create(), () => client.job(jobId)])
      await expect(call()).rejects.toMatchObject(closed)
    await expect(lab.worker(await lab.replica())).rejects.toMatchObject(closed)
    await expect(client.delete()).rejects.toMatchObject({ kind: 'POOL_IN_USE' })
    await lab.redis.del(KEYS.lease('old'))
    await client.delete()
    expect(await keysLeft(lab)).toEqual([])
    // And once more, for what is late.
    await lab.redis.set(KEYS.counters, 'x')
    await client.delete()
    expect(await keysLeft(lab)).toEqual([])
  })

  test('works although its config and registry cannot be read', async ({ lab }) => {
    const client = await lab.client()
    await lab.redis.set(KEYS.config, 'no HASH')
    await lab.redis.hset(KEYS.replicas, 'r', 'no JSON')
    await client.delete()
    expect(await keysLeft(lab)).toEqual([])
  })

  test('takes thousands of jobs, waiting and over', async ({ lab }) => {
    const client = await lab.client({ batch_max_queued: 10_000 })
    const ids = Array.from({ length: 2500 }, (_, at) => `j-${at}`)
    for (let at = 0; at < ids.length; at += 100)
      await Promise.all(
        ids.slice(at, at + 100).map((jobId) => client.enqueue({ ...JOB, priority: 'batch' }, { jobId })),
      )
    await Promise.all(ids.slice(0, 50).map((jobId) => client.cancel(jobId)))
    await client.delete()
    expect(await keysLeft(lab)).toEqual([])
  })
})

import { Queue } from 'bullmq'
import { describe, expect } from 'vitest'
import { examine } from '../../src/doctor/doctor.ts'
import { judgePool } from '../../src/doctor/judge-pool.ts'
import type { PoolSight } from '../../src/doctor/judge-pool.ts'
import { KEYS, POOL, test } from '../support/lab.ts'
import { complaints, found, until } from './stage.ts'

const SUBJECT = `pool ${POOL}`

function statusOfQueue(sight: PoolSight): string | undefined {
  return judgePool(sight).find(({ check }) => check === 'pool-queue')?.status
}

describe('a pool', () => {
  test('with a worker that is ready has nothing against it but the lab’s Redis', async ({ lab }) => {
    const client = await lab.client({ pin: { model_id: 'simulated/tiny-llm' } })
    await lab.worker(await lab.replica())
    const report = await until(lab.redisUrl, (seen) => {
      expect(complaints(seen)).toEqual(['warning redis-persistence redis'])
    })
    expect(report).toMatchObject({
      ok: true,
      pools: [
        {
          pool_id: POOL,
          pin: { model_id: 'simulated/tiny-llm' },
          max_queued: (await client.config()).max_queued,
          waiting: { interactive: 0, batch: 0, delayed: 0 },
          active: 0,
          oldest_wait_ms: 0,
          paused: false,
          overdue: 0,
          replicas: [{ state: 'ready', standbys: 0, reachable: true }],
        },
      ],
    })
  })

  test('without a worker is a warning, and a fault once a job waits', async ({ lab }) => {
    const client = await lab.client()
    const idle = await examine({ redisUrl: lab.redisUrl })
    expect(found(idle, 'pool-workers')).toMatchObject({ status: 'warning', subject: SUBJECT })
    expect(idle.ok).toBe(true)
    await client.enqueue({ inputs: 'a' })
    await client.enqueue({ inputs: 'b', priority: 'batch' })
    const report = await examine({ redisUrl: lab.redisUrl })
    expect(found(report, 'pool-workers')).toEqual({
      check: 'pool-workers',
      subject: SUBJECT,
      status: 'fault',
      message: '2 jobs waiting, and no worker serves it',
      advice: `tgi-pool worker --pool ${POOL} --replica http://<host>:<port>`,
      value: 2,
    })
    expect(report.pools).toMatchObject([{ waiting: { interactive: 1, batch: 1, delayed: 0 } }])
    expect(report.pools[0]?.oldest_wait_ms).toBeGreaterThan(0)
    expect(report.ok).toBe(false)
  })

  test('whose only replica is unhealthy is a fault once a job waits', async ({ lab }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica({ faults: [{ kind: 'unhealthy' }] }))
    await client.enqueue({ inputs: 'a' })
    await until(lab.redisUrl, (report) => {
      expect(found(report, 'pool-workers')).toMatchObject({
        status: 'fault',
        message: '1 job waiting, and none of its 1 replica is ready (unhealthy)',
      })
    })
  })

  test('whose queue is nearly full is a warning, and a fault when it is', async ({ lab }) => {
    const client = await lab.client({ max_queued: 5 })
    for (let n = 0; n < 4; n += 1) await client.enqueue({ inputs: 'a' })
    const nearly = await examine({ redisUrl: lab.redisUrl })
    expect(found(nearly, 'pool-queue')).toMatchObject({ status: 'warning', value: 4 })
    await client.enqueue({ inputs: 'a' })
    const full = await examine({ redisUrl: lab.redisUrl })
    expect(found(full, 'pool-queue')).toMatchObject({
      status: 'fault',
      message: expect.stringMatching(/full \(max_queued 5\), new jobs are refused$/),
      advice: `start more workers, or tgi-pool pool set max_queued=10 --pool ${POOL}`,
    })
  })

  test('whose batch queue or bytes are used up is a fault that names the setting', async ({ lab }) => {
    const client = await lab.client({ batch_max_queued: 1, max_queued_bytes: 1000 })
    await client.enqueue({ inputs: 'a', priority: 'batch' })
    expect(found(await examine({ redisUrl: lab.redisUrl }), 'pool-queue')).toMatchObject({
      status: 'fault',
      message: expect.stringMatching(/full \(batch_max_queued 1\)/),
      advice: expect.stringContaining('batch_max_queued=2'),
    })
    await client.set({ batch_max_queued: 10 })
    await client.enqueue({ inputs: 'a'.repeat(850) })
    expect(found(await examine({ redisUrl: lab.redisUrl }), 'pool-queue')).toMatchObject({
      status: 'warning',
      message: expect.stringMatching(/nearly full \(max_queued_bytes 1000\)/),
    })
  })

  test('whose batch waits beside a slot that is kept for others is well', async ({ lab }) => {
    const client = await lab.client({ reserved_slots: 1 })
    const worker = await lab.worker(await lab.replica({ tokensPerSecond: 10 }), { slots: 2 })
    for (let n = 0; n < 3; n += 1)
      await client.enqueue({ inputs: 'a', priority: 'batch', parameters: { max_new_tokens: 4000 } })
    await expect.poll(() => worker.busy).toBe(1)
    await until(lab.redisUrl, (report) => expect(report.pools).toMatchObject([{ replicas: [{ busy: 1 }] }]))
    // As if the oldest had waited for longer than anybody watches a free slot.
    const old = {
      depth: { interactive: 0, batch: 2, delayed: 0, active: 1, heads: [] },
      oldestWaitSeconds: 60,
    }
    const replicas = (await client.replicas()).map((entry) => ({
      poolId: POOL,
      entry,
      standbys: 0,
      standbyUrls: [],
    }))
    const sight = {
      config: await client.config(),
      queuePrefix: KEYS.queuePrefix,
      facts: { poolId: POOL, ...old, replicas, counters: {}, indexed: new Map() },
      look: { paused: [], bytes: 0, overdue: 0, unlocked: 0 },
    }
    expect(statusOfQueue(sight)).toBe('ok')
    const person = { ...old.depth, interactive: 1 }
    expect(statusOfQueue({ ...sight, facts: { ...sight.facts, depth: person } })).toBe('warning')
  })

  test.for(['jobs', 'batch'])(
    'whose BullMQ queue %s is paused is a fault until it is resumed',
    async (name, { lab }) => {
      await lab.client()
      const queue = new Queue(name, { connection: lab.redis, prefix: KEYS.queuePrefix })
      try {
        await queue.pause()
        const report = await examine({ redisUrl: lab.redisUrl })
        expect(found(report, 'pool-paused')).toMatchObject({
          status: 'fault',
          advice: expect.stringContaining(`new Queue("${name}"`),
        })
        expect(report.pools).toMatchObject([{ paused: true }])
        await queue.resume()
        expect(found(await examine({ redisUrl: lab.redisUrl }), 'pool-paused').status).toBe('ok')
      } finally {
        await queue.close()
      }
    },
  )

  test('with jobs past their deadline that nobody ends is a fault, until a worker comes', async ({ lab }) => {
    const client = await lab.client()
    const { job_id: jobId } = await client.enqueue({ inputs: 'a', deadline_ms: 60_000 })
    await lab.redis.zadd(KEYS.deadlines, Date.now() - 10_000, jobId)
    const report = await examine({ redisUrl: lab.redisUrl })
    expect(found(report, 'pool-deadlines')).toMatchObject({
      status: 'fault',
      message: '1 job past the deadline but not ended: no process sweeps them',
      value: 1,
    })
    expect(report.pools).toMatchObject([{ overdue: 1 }])
    await lab.worker(await lab.replica())
    await until(lab.redisUrl, (seen) => expect(found(seen, 'pool-deadlines').status).toBe('ok'))
  })

  test('with a job that has just passed its deadline is given the time to end it', async ({ lab }) => {
    const client = await lab.client()
    const { job_id: jobId } = await client.enqueue({ inputs: 'a', deadline_ms: 60_000 })
    await lab.redis.zadd(KEYS.deadlines, Date.now(), jobId)
    expect(found(await examine({ redisUrl: lab.redisUrl }), 'pool-deadlines').status).toBe('ok')
  })

  test('whose killed worker had a job is a fault, until another takes it over', async ({ lab }) => {
    const client = await lab.client()
    const times = { lockMs: 1000, stalledIntervalMs: 300, leaseMs: 1000 }
    const replica = await lab.replica({ prefillMs: 60_000 })
    const doomed = await lab.process(replica, times)
    await client.enqueue({ inputs: 'a' })
    await expect.poll(() => replica.seen.open).toBe(1)
    const running = await examine({ redisUrl: lab.redisUrl })
    expect(found(running, 'pool-locks').status).toBe('ok')
    expect(running.pools).toMatchObject([{ active: 1 }])
    doomed.kill('SIGKILL')
    await doomed.exited
    await until(lab.redisUrl, (report) => {
      expect(found(report, 'pool-locks')).toMatchObject({
        status: 'fault',
        message: '1 job whose worker is gone, and no other worker serves the pool',
      })
    })
    await lab.worker(await lab.replica(), times)
    await until(lab.redisUrl, (report) => {
      expect(found(report, 'pool-locks').status).toBe('ok')
      expect(report.pools).toMatchObject([{ active: 0 }])
    })
  })

  test('whose config is broken is a fault that names the field; the others are looked at', async ({
    lab,
  }) => {
    await lab.client()
    await lab.client({}, 'other')
    await lab.redis.hset(KEYS.config, 'max_queued', '"many"')
    const report = await examine({ redisUrl: lab.redisUrl })
    expect(found(report, 'pool-config', SUBJECT)).toMatchObject({
      status: 'fault',
      message: expect.stringMatching(/config of pool lab: max_queued/),
      advice: expect.stringContaining(`redis-cli HGETALL '${KEYS.config}'`),
    })
    expect(found(report, 'pool-config', 'pool other').status).toBe('ok')
    expect(report.pools.map(({ pool_id: id }) => id)).toEqual(['lab', 'other'])
  })

  test('whose deletion was interrupted is a fault that names the command which goes on', async ({ lab }) => {
    const client = await lab.client()
    // A worker that does not let go.
    await lab.redis.hset(KEYS.replicas, 'old', '{}')
    await lab.redis.set(KEYS.lease('old'), 'its-worker')
    const stop = new AbortController()
    const deleting = expect(client.delete({ force: true, signal: stop.signal })).rejects.toThrow('stop')
    await expect.poll(() => client.config().catch(String)).toContain('is being deleted')
    stop.abort(new Error('stop'))
    await deleting
    const report = await examine({ redisUrl: lab.redisUrl })
    expect(found(report, 'pool-config', SUBJECT)).toMatchObject({
      status: 'fault',
      message: expect.stringContaining('is being deleted'),
      advice: 'tgi-pool pool delete lab',
    })
    await lab.redis.del(KEYS.lease('old'))
    await client.delete()
    expect((await examine({ redisUrl: lab.redisUrl })).pools).toEqual([])
  })

  test('with a registry entry that cannot be read is looked at all the same', async ({ lab }) => {
    await lab.client()
    await lab.redis.hset(KEYS.replicas, 'r', 'no JSON')
    const report = await examine({ redisUrl: lab.redisUrl })
    expect(report.findings.filter(({ subject }) => subject.startsWith('replica'))).toMatchObject([
      {
        check: 'replica-state',
        status: 'fault',
        subject: `replica ${POOL}/r`,
        message: 'lost: its registry entry cannot be read: not JSON',
        advice: expect.stringMatching(/^redis-cli HDEL .*replicas'? r; /),
      },
    ])
    expect(report.pools).toMatchObject([{ pool_id: POOL, replicas: [{ replica_id: 'r' }] }])
  })

  test('whose registry is broken is a fault; the others are looked at', async ({ lab }) => {
    await lab.client()
    await lab.client({}, 'other')
    await lab.redis.set(KEYS.replicas, 'no hash')
    const report = await examine({ redisUrl: lab.redisUrl })
    expect(found(report, 'pool-registry')).toMatchObject({
      status: 'fault',
      subject: SUBJECT,
      message: expect.stringContaining('WRONGTYPE'),
    })
    expect(report.pools.map(({ pool_id: id }) => id)).toEqual(['other'])
  })

  test('that is chosen is the only one looked at', async ({ lab }) => {
    await lab.client()
    await lab.client({}, 'other')
    const report = await examine({ redisUrl: lab.redisUrl, pool: 'other' })
    expect(report.pools.map(({ pool_id: id }) => id)).toEqual(['other'])
    expect(report.findings.filter(({ subject }) => subject.includes(POOL))).toEqual([])
  })

  test('that is chosen and not there is a fault that says which are', async ({ lab }) => {
    await lab.client()
    const report = await examine({ redisUrl: lab.redisUrl, pool: 'lbA'.toLowerCase() })
    expect(found(report, 'pool-config')).toMatchObject({
      status: 'fault',
      message: 'no such pool under the prefix tgi-pool (there are: lab)',
      advice: 'check the name; or create it: tgi-pool pool create --pool lba',
    })
    await lab.client({}, 'production')
    const near = await examine({ redisUrl: lab.redisUrl, pool: 'prodution' })
    expect(found(near, 'pool-config').advice).toMatch(
      /^tgi-pool doctor --pool production, if that is meant; or /,
    )
  })
})

test('a name in the list of pools that is none is a warning', async ({ lab }) => {
  await lab.client()
  await lab.redis.sadd(KEYS.pools, 'Not a pool')
  const report = await examine({ redisUrl: lab.redisUrl })
  expect(found(report, 'pools')).toMatchObject({
    status: 'warning',
    message: expect.stringContaining('"Not a pool"'),
    advice: expect.stringContaining(`redis-cli SREM ${KEYS.pools} `),
  })
  expect(report.pools).toHaveLength(1)
})

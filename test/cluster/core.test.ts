/**
 * The core of the suite, asked of a Cluster of three nodes: the same tests as of a single server, and what only a
 * Cluster can get wrong.
 */
import { Cluster } from 'ioredis'
import { pino } from 'pino'
import { describe, expect } from 'vitest'
import { openPools } from '../../src/client/pools.ts'
import { poolKeys } from '../../src/contract/keys.ts'
import { startMetricsServer } from '../../src/metrics/server.ts'
import { ensurePool } from '../../src/pool/config-store.ts'
import { connectRedis, disconnectRedis, redisTimeMs } from '../../src/redis/connect.ts'
import { primaryOf, slotOf } from '../../src/redis/cluster.ts'
import { openGateway } from '../gateway/stage.ts'
import { post } from '../gateway/calls.ts'
import { collect, endOf, errorOf, tokensIn } from '../support/job-log.ts'
import { KEYS, POOL, test as base } from '../support/lab.ts'
import { createManualClock } from '../support/manual-clock.ts'
import { TEST_REDIS } from '../support/redis.ts'

process.env[TEST_REDIS] = 'cluster'
// What these files say, they say here of a Cluster.
await import('../batch/run-batch.test.ts')
await import('../client/delete-pool.test.ts')
await import('../client/forget.test.ts')
await import('../client/job-list.test.ts')
await import('../process/kill.test.ts')
await import('../worker/cancel.test.ts')
await import('../worker/deadlines.test.ts')
await import('../worker/end-to-end.test.ts')

/** Pools that are on three different shards. */
const POOLS = [0, 1, 2].map((third) => {
  for (let n = 0; ; n += 1) {
    const slot = slotOf(poolKeys(`pool-${n}`).config)
    if (Math.floor((slot * 3) / 16_384) === third) return `pool-${n}`
  }
})

interface Door {
  readonly redisUrl: string
  readonly closing: (close: () => Promise<void>) => void
}

const test = base
  /** Where the lab's Redis is, for what is to be closed before the lab is. */
  .extend('door', async ({ lab }, { onCleanup }): Promise<Door> => {
    const opened: (() => Promise<void>)[] = []
    onCleanup(async () => void (await Promise.all(opened.map((close) => close()))))
    return { redisUrl: lab.redisUrl, closing: (close) => void opened.push(close) }
  })
  /** A connection to all nodes. */
  .extend('cluster', async ({ lab }, { onCleanup }): Promise<Cluster> => {
    const redis = await connectRedis(lab.redisUrl, { role: 'commands' })
    onCleanup(() => disconnectRedis(redis))
    if (!(redis instanceof Cluster)) throw new Error('expected a Cluster')
    return redis
  })

describe('pools on three shards', () => {
  test('each keep what is theirs on their own, and answer side by side', async ({ cluster, lab, door }) => {
    const pools = await openPools({ redisUrl: door.redisUrl })
    door.closing(() => pools.close())
    const parameters = { max_new_tokens: 5 }
    const jobs = await Promise.all(
      POOLS.map(async (name) => {
        await lab.worker(await lab.replica(), { pool: name })
        const pool = pools.pool(name)
        const { job_id: jobId } = await pool.enqueue({ inputs: 'Side by side', parameters })
        endOf(await collect(pool, jobId))
        return jobId
      }),
    )
    expect((await pools.list()).map(({ pool_id: id }) => id)).toEqual(POOLS.toSorted())
    for (const [index, jobId] of jobs.entries()) {
      expect((await pools.locate(jobId)).pool).toBe(POOLS[index])
    }
    const found = await Promise.all(cluster.nodes('master').map((node) => node.keys('*:events:*')))
    expect(found.map((keys) => keys.length)).toEqual([1, 1, 1])
  })

  test('are all swept for deadlines by whoever runs', async ({ lab }) => {
    const [first = '', ...others] = POOLS
    await lab.worker(await lab.replica(), { pool: first })
    const late = await Promise.all(
      others.map(async (name) => {
        const client = await lab.client({}, name)
        return errorOf(
          await collect(client, (await client.enqueue({ inputs: 'Late', deadline_ms: 200 })).job_id),
        )
      }),
    )
    expect(late.map(({ code }) => code)).toEqual(['DEADLINE_UNMET', 'DEADLINE_UNMET'])
  })

  test('are made in steps of which the last one counts', async ({ cluster, lab }) => {
    for (const name of POOLS) {
      const keys = poolKeys(name)
      await ensurePool(cluster, keys, { max_queued: 7 })
      // Whoever made it died before it was named.
      await cluster.srem(keys.pools, name)
      const client = await lab.client({ max_queued: 9 }, name)
      expect(await client.config()).toMatchObject({ max_queued: 7 })
    }
  })

  test('share no memory: where one is full, only its own new jobs are refused', async ({
    lab,
    cluster,
    door,
  }) => {
    const pools = await openPools({ redisUrl: door.redisUrl })
    door.closing(() => pools.close())
    const [full = '', ...others] = POOLS
    const clock = createManualClock()
    await lab.worker(await lab.replica({ clock, tokensPerSecond: 100 }), { pool: full })
    for (const name of others) await pools.pool(name).create()
    const job = { inputs: 'x', parameters: { max_new_tokens: 50 } }
    const [running, cancelled] = [await pools.pool(full).enqueue(job), await pools.pool(full).enqueue(job)]
    await tokensIn(cluster, poolKeys(full), running.job_id)
    const node = primaryOf(cluster, poolKeys(full).config)
    await node?.config('SET', 'maxmemory', '1')
    await expect(pools.pool(full).enqueue(job)).rejects.toMatchObject({ kind: 'ADMISSION_REJECT' })
    for (const name of others) expect(await pools.pool(name).enqueue(job)).toMatchObject({ existing: false })
    await pools.pool(full).forget(cancelled.job_id)
    clock.run()
    expect(endOf(await collect(pools.pool(full), running.job_id))).toMatchObject({ tokens_out: 50 })
    await node?.config('SET', 'maxmemory', '0')
    await expect
      .poll(() =>
        pools
          .pool(full)
          .enqueue(job)
          .catch(() => undefined),
      )
      .toBeDefined()
  })

  test('have the clock of the node that holds them', async ({ cluster }) => {
    const before = await Promise.all(cluster.nodes('master').map(timesAsked))
    const keys = poolKeys(POOLS[0] ?? '')
    for (let n = 0; n < 20; n += 1) await redisTimeMs(cluster, keys.config)
    const after = await Promise.all(cluster.nodes('master').map(timesAsked))
    expect(after.map((count, index) => count - (before[index] ?? 0)).toSorted((a, b) => a - b)).toEqual([
      0, 0, 20,
    ])
  })
})

/** How often a node was asked what time it is. */
async function timesAsked(node: { info(section: string): Promise<string> }): Promise<number> {
  return Number(/^cmdstat_time:calls=(\d+)/m.exec(await node.info('commandstats'))?.[1] ?? 0)
}

describe('two consumers of a job', () => {
  test('have what follows, whichever id they resume after', async ({ lab }) => {
    const client = await lab.client()
    await lab.worker(await lab.replica({ tokensPerSecond: 200 }))
    const { job_id: jobId } = await client.enqueue({ inputs: 'Twice', parameters: { max_new_tokens: 60 } })
    await tokensIn(lab.redis, KEYS, jobId, 5)
    const [one, other] = await Promise.all([collect(client, jobId), collect(client, jobId)])
    endOf(one)
    expect(other).toEqual(one)
    for (const [index, { id }] of one.entries()) {
      expect(await collect(client, jobId, id)).toEqual(one.slice(index + 1))
    }
  })
})

describe('the doors', () => {
  test('of the gateway take a job and stream its events', async ({ lab, door }) => {
    await lab.client()
    await lab.worker(await lab.replica())
    const gateway = await openGateway(door.redisUrl)
    door.closing(() => gateway.stop())
    expect((await fetch(`${gateway.url}/readyz`)).status).toBe(200)
    const body = { pool: POOL, inputs: 'Over HTTP', parameters: { max_new_tokens: 3 } }
    const { json } = await post(`${gateway.url}/v1/jobs`, body)
    const events = await fetch(`${gateway.url}/v1/jobs/${String(json['job_id'])}/events`)
    expect((await events.text()).match(/^event: .*$/gm)).toEqual([
      'event: queued',
      'event: started',
      ...Array.from({ length: 3 }, () => 'event: token'),
      'event: end',
    ])
  })

  test('of the metrics process tell of the pools of every shard', async ({ lab, door }) => {
    for (const name of POOLS) await lab.client({}, name)
    const logger = pino({ level: 'silent' })
    const server = await startMetricsServer({ redisUrl: door.redisUrl, port: 0, cacheMs: 0, logger })
    door.closing(() => server.close())
    const text = await (await fetch(`${server.url}/metrics`)).text()
    for (const name of POOLS) expect(text).toContain(`pool_id="${name}"`)
  })
})

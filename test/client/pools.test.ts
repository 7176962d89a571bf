import { describe, expect } from 'vitest'
import { openPool, openPools } from '../../src/client/pools.ts'
import type { Pools } from '../../src/client/pools.ts'
import { test as base } from '../support/lab.ts'

const test = base.extend('pools', async ({ redis }, { onCleanup }): Promise<Pools> => {
  const pools = await openPools({ redisUrl: redis.url })
  onCleanup(() => pools.close())
  return pools
})

describe('all pools of a Redis', () => {
  test('are listed by name, and share their connections', async ({ pools, redis }) => {
    for (const name of ['b', 'a', 'c']) await pools.pool(name).create({ max_new_tokens: 7 })
    expect(await pools.list()).toMatchObject(
      ['a', 'b', 'c'].map((id) => ({ pool_id: id, config: { max_new_tokens: 7 } })),
    )
    const clients = String(await redis.redis.client('LIST'))
      .trim()
      .split('\n')
    // Two are the fixture's own.
    expect(clients).toHaveLength(3)
    expect(pools.pool('a')).toBe(pools.pool('a'))
  })

  test('are named by what a name may be', ({ pools }) => {
    expect(() => pools.pool('Not A Name')).toThrow(/pool: expected 1 to 63/)
  })

  test('find the pool of a job', async ({ pools }) => {
    const [a, b] = [pools.pool('a'), pools.pool('b')]
    await Promise.all([a.create(), b.create()])
    await a.enqueue({ inputs: 'x' }, { jobId: 'in-a' })
    await b.enqueue({ inputs: 'x' }, { jobId: 'in-b' })
    for (const pool of [a, b]) await pool.enqueue({ inputs: 'x' }, { jobId: 'in-both' })
    expect((await pools.locate('in-a')).pool).toBe('a')
    expect((await pools.locate('in-b')).pool).toBe('b')
    await expect(pools.locate('in-both')).rejects.toMatchObject({
      kind: 'ID_CONFLICT',
      message: /pools a, b/,
    })
    await expect(pools.locate('nowhere')).rejects.toMatchObject({ kind: 'UNKNOWN_JOB' })
    await expect(pools.locate('no id')).rejects.toMatchObject({ kind: 'INVALID_PARAMS' })
    expect(await a.has('in-a')).toBe(true)
    expect(await a.has('in-b')).toBe(false)
  })

  test('end every read when they are closed', async ({ redis }) => {
    const pools = await openPools({ redisUrl: redis.url })
    const client = pools.pool('p')
    await client.create()
    const { job_id: jobId } = await client.enqueue({ inputs: 'x' })
    const told = expect(client.result(jobId)).rejects.toMatchObject({ kind: 'REDIS_UNAVAILABLE' })
    await expect.poll(async () => String(await redis.redis.client('LIST'))).toContain('cmd=xread')
    await pools.close()
    await told
    await expect(client.config()).rejects.toMatchObject({
      kind: 'REDIS_UNAVAILABLE',
      message: 'the pool client was closed',
    })
  })
})

describe('every call', () => {
  test('ends with the reason of its signal', async ({ redis }) => {
    const client = await openPool({ redisUrl: redis.url, pool: 'p' })
    await client.create()
    const signal = AbortSignal.abort(new Error('enough'))
    const calls = [
      client.enqueue({ inputs: 'x' }, { signal }),
      client.cancel('j', { signal }),
      client.forget('j', { signal }),
      client.has('j', { signal }),
      client.job('j', { signal }),
      client.result('j', { signal }),
      client.config({ signal }),
      client.create({}, { signal }),
      client.set({}, { signal }),
      client.delete({ signal }),
      client.replicas({ signal }),
      client.waiting({ signal }),
    ]
    for (const call of calls) await expect(call).rejects.toThrow('enough')
    expect(await client.waiting()).toMatchObject({ interactive: 0 })
    await client.close()
  })
})

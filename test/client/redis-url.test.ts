import { afterEach, describe, expect, vi } from 'vitest'
import { openPool, openPools } from '../../src/client/pools.ts'
import { connectTo, findRedis } from '../../src/client/redis-url.ts'
import { PoolError } from '../../src/contract/error.ts'
import { freePort } from '../../src/redis/server.ts'
import { test } from '../support/redis.ts'

afterEach(() => vi.unstubAllEnvs())

const refused = () => Promise.reject(new PoolError('REDIS_UNAVAILABLE', 'no answer'))

describe('the address of Redis', () => {
  test('is that of REDIS_URL if none is given', async ({ redis }) => {
    vi.stubEnv('REDIS_URL', redis.url)
    const pools = await openPools()
    await pools.pool('p').create()
    const pool = await openPool({ pool: 'p' })
    expect(await pool.config()).toMatchObject({ max_new_tokens: 512 })
    await Promise.all([pool.close(), pools.close()])
  })

  test('is the given one, whatever REDIS_URL says', async ({ redis }) => {
    vi.stubEnv('REDIS_URL', `redis://127.0.0.1:${await freePort()}`)
    const pools = await openPools({ redisUrl: redis.url })
    await pools.close()
    expect(findRedis('redis://a')).toEqual({ url: 'redis://a' })
  })

  test.for([undefined, ''])('is the usual one if REDIS_URL is %j', (value) => {
    vi.stubEnv('REDIS_URL', value)
    expect(findRedis(undefined).url).toBe('redis://127.0.0.1:6379')
  })

  test('is part of the error, and so is where it comes from', async () => {
    const url = `redis://127.0.0.1:${await freePort()}`
    vi.stubEnv('REDIS_URL', url)
    await expect(openPool({ pool: 'p' })).rejects.toMatchObject({
      kind: 'REDIS_UNAVAILABLE',
      message: expect.stringMatching(
        /^Redis at redis:\/\/127\.0\.0\.1:\d+ does not answer: .*; this address is from REDIS_URL$/,
      ),
    })
    await expect(openPool({ pool: 'p', redisUrl: url })).rejects.toThrow(/ECONNREFUSED[^;]*$/)
    vi.stubEnv('REDIS_URL', 'localhost')
    await expect(openPools()).rejects.toMatchObject({ kind: 'CONFIG', message: /from REDIS_URL$/ })
  })

  test('that is the default one says so where nothing answers', async () => {
    vi.stubEnv('REDIS_URL', undefined)
    await expect(connectTo(findRedis(undefined), refused)).rejects.toMatchObject({
      kind: 'REDIS_UNAVAILABLE',
      message: 'no answer; this is the default address, since neither redisUrl nor REDIS_URL is set',
    })
  })
})

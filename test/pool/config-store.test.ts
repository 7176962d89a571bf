import { expect } from 'vitest'
import { poolKeys } from '../../src/contract/keys.ts'
import { DEFAULT_POOL_CONFIG } from '../../src/contract/pool-config.ts'
import { changePoolConfig, ensurePool, listPools, readPoolConfig } from '../../src/pool/config-store.ts'
import { test } from '../support/redis.ts'

test('a pool that nobody made is an error that names the pools there are', async ({
  redis: { redis, keys },
}) => {
  await ensurePool(redis, poolKeys('other'))
  await expect(readPoolConfig(redis, keys)).rejects.toMatchObject({
    kind: 'POOL_UNAVAILABLE',
    message: expect.stringMatching(/no pool "p" \(there are: other\)/) as string,
  })
})

test('a new pool has the defaults, and stores none of them', async ({ redis: { redis, keys } }) => {
  expect(await ensurePool(redis, keys)).toEqual(DEFAULT_POOL_CONFIG)
  expect(await redis.hgetall(keys.config)).toEqual({})
})

test('making a pool again keeps what is set; changing it changes only what is named', async ({
  redis: { redis, keys },
}) => {
  await ensurePool(redis, keys, { max_queued: 5 })
  expect((await ensurePool(redis, keys, { max_queued: 7, max_attempts: 2 })).max_queued).toBe(5)
  const changed = await changePoolConfig(redis, keys, { max_queued: 9 })
  expect(changed).toMatchObject({
    max_queued: 9,
    max_attempts: 2,
    max_new_tokens: DEFAULT_POOL_CONFIG.max_new_tokens,
  })
})

test('a bad value changes nothing and says what was expected', async ({ redis: { redis, keys } }) => {
  await ensurePool(redis, keys, { max_queued: 5 })
  await expect(changePoolConfig(redis, keys, { max_queued: -1, max_attempts: 3 })).rejects.toThrow(
    /max_queued/,
  )
  expect(await readPoolConfig(redis, keys)).toMatchObject({
    max_queued: 5,
    max_attempts: DEFAULT_POOL_CONFIG.max_attempts,
  })
})

test('a pool that nobody made cannot be changed', async ({ redis: { redis, keys } }) => {
  await expect(changePoolConfig(redis, keys, { max_queued: 1 })).rejects.toMatchObject({
    kind: 'POOL_UNAVAILABLE',
  })
  expect(await redis.exists(keys.config)).toBe(0)
})

test('a config that somebody broke by hand is told by its field', async ({ redis: { redis, keys } }) => {
  await ensurePool(redis, keys)
  await redis.hset(keys.config, 'max_queued', 'many')
  await expect(readPoolConfig(redis, keys)).rejects.toThrow(/pool p: max_queued: expected JSON/)
})

test('all pools are listed by name', async ({ redis: { redis } }) => {
  for (const pool of ['b', 'a']) await ensurePool(redis, poolKeys(pool))
  expect((await listPools(redis)).map(({ pool_id: id }) => id)).toEqual(['a', 'b'])
})

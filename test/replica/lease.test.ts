import { expect } from 'vitest'
import { startLease } from '../../src/replica/lease.ts'
import type { Lease } from '../../src/replica/lease.ts'
import type { Redis } from 'ioredis'
import type { PoolKeys } from '../../src/contract/keys.ts'
import { startProxy } from '../support/proxy.ts'
import { test } from '../support/redis.ts'

const LEASE_MS = 1500

/** Holders of one replica, and how many of them there were at most at any time. */
function watch() {
  const holders = new Set<string>()
  let most = 0
  return {
    holders,
    get most() {
      return most
    },
    start(redis: Redis, keys: PoolKeys, workerId: string): Lease {
      return startLease({
        redis,
        keys,
        replicaId: 'r',
        workerId,
        leaseMs: LEASE_MS,
        onGained: () => {
          holders.add(workerId)
          most = Math.max(most, holders.size)
        },
        onLost: () => void holders.delete(workerId),
        onError: () => undefined,
      })
    },
  }
}

test('the first worker holds it, the second stands by and takes over when the first gives it up', async ({
  redis: { redis, keys },
}) => {
  const seen = watch()
  const first = seen.start(redis, keys, 'a')
  await expect.poll(() => [...seen.holders]).toEqual(['a'])
  const second = seen.start(redis, keys, 'b')
  await expect.poll(() => redis.pttl(keys.lease('r'))).toBeGreaterThan(LEASE_MS / 2)
  expect(second.held).toBe(false)
  await first.release()
  seen.holders.delete('a')
  await expect.poll(() => second.held).toBe(true)
  await second.release()
  expect(await redis.exists(keys.lease('r'))).toBe(0)
})

test('is gained and renewed while Redis is out of memory', async ({ redis: { redis, keys } }) => {
  await redis.config('SET', 'maxmemory', '1')
  const lease = watch().start(redis, keys, 'a')
  await expect.poll(() => lease.held).toBe(true)
  await redis.pexpire(keys.lease('r'), LEASE_MS * 100)
  await expect.poll(() => redis.pttl(keys.lease('r'))).toBeLessThanOrEqual(LEASE_MS)
  await lease.release()
})

test('a holder whose line hangs lets go before a standby can have it', async ({ redis: fixture }) => {
  const proxy = await startProxy(fixture.port)
  const slow = await fixture.connect('commands', proxy.url)
  const seen = watch()
  const first = seen.start(slow, fixture.keys, 'a')
  await expect.poll(() => first.held).toBe(true)
  const second = seen.start(fixture.redis, fixture.keys, 'b')
  proxy.stall()
  await expect.poll(() => second.held).toBe(true)
  expect([...seen.holders]).toEqual(['b'])
  expect(seen.most).toBe(1)
  proxy.pass()
  await expect.poll(async () => (await slow.ping()) === 'PONG').toBe(true)
  expect(first.held).toBe(false)
  await second.release()
  await expect.poll(() => first.held).toBe(true)
  await first.release()
  slow.disconnect()
  await proxy.close()
})

test('giving up what another holds leaves it alone', async ({ redis: { redis, keys } }) => {
  await redis.set(keys.lease('r'), 'somebody', 'PX', 60_000)
  const lease = watch().start(redis, keys, 'a')
  await lease.release()
  await lease.release()
  expect(await redis.get(keys.lease('r'))).toBe('somebody')
})

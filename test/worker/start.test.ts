import { describe, expect } from 'vitest'
import { KEYS, test } from '../support/lab.ts'

describe('a worker that cannot start', () => {
  test.for([
    { name: 'a pool of a bad name', options: { pool: 'No Pool' }, kind: 'INVALID_PARAMS' },
    { name: 'a replica of a bad id', options: { replicaId: 'a b' }, kind: 'INVALID_PARAMS' },
    { name: 'an address that is none', options: { replicaUrl: 'ftp://x' }, kind: 'CONFIG' },
    { name: 'no Redis there', options: { redisUrl: 'redis://127.0.0.1:1' }, kind: 'REDIS_UNAVAILABLE' },
    { name: 'an address of Redis that is none', options: { redisUrl: 'http://x' }, kind: 'CONFIG' },
  ])('says so, given $name, and leaves nothing open', async ({ options, kind }, { lab }) => {
    const replica = await lab.replica()
    await expect(lab.worker(replica, options)).rejects.toMatchObject({ kind })
  })
})

describe('a worker', () => {
  test('makes its pool, registers, and leaves no trace of itself when it stops', async ({ lab }) => {
    const worker = await lab.worker(await lab.replica(), { replicaId: 'gpu-0' })
    expect(await lab.redis.smembers(KEYS.pools)).toEqual(['lab'])
    expect(Object.keys(await lab.redis.hgetall(KEYS.replicas))).toHaveLength(1)
    await expect.poll(() => worker.state).toBe('ready')
    expect(await lab.redis.get(KEYS.lease('gpu-0'))).toBe(worker.workerId)
    await Promise.all([worker.stop(), worker.stop(), worker.stop(0)])
    expect(await lab.redis.exists(KEYS.replicas, KEYS.lease('gpu-0'))).toBe(0)
  })

  test('may be stopped as soon as it has started, again and again', async ({ lab }) => {
    const client = await lab.client()
    const replica = await lab.replica()
    for (let round = 0; round < 15; round += 1) {
      const worker = await lab.worker(replica)
      if (round % 3 === 1) await expect.poll(() => worker.state, { interval: 1 }).toBe('ready')
      await worker.stop(0)
      expect(await client.replicas()).toEqual([])
    }
    expect(replica.state().open_sockets).toBe(0)
  })
})

describe('a worker of a pool whose config somebody broke', () => {
  test('says so and leaves nothing open', async ({ lab }) => {
    await lab.client()
    await lab.redis.hset(KEYS.config, 'deadline_ms', '"soon"')
    await expect(lab.worker(await lab.replica())).rejects.toMatchObject({
      message: expect.stringContaining('deadline_ms'),
    })
  })
})

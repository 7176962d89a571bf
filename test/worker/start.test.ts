import { describe, expect } from 'vitest'
import { replicaIdOf } from '../../src/worker/worker-options.ts'
import { found, until } from '../doctor/stage.ts'
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

describe('the default replica id', () => {
  test.for<[url: string, id: string]>([
    ['http://127.0.0.1:8080', '127.0.0.1-8080'],
    ['http://gpu-1.example:8080/', 'gpu-1.example-8080'],
    ['https://gpu-1', 'gpu-1-443'],
    ['http://GPU-1', 'gpu-1-80'],
    ['http://user:secret@gpu-1:80', 'gpu-1-80'],
  ])('of %s is %s', ([url, id]) => {
    expect(replicaIdOf(url)).toBe(id)
  })

  test('is another one for every other address, always the same one', () => {
    const long = 'x'.repeat(60)
    const urls = [
      ...['', '/x', '/y', '/X', '/x/y', '/x-y', '/x%20y'].map((path) => `http://10.0.0.1:80${path}`),
      ...['[::1]', '[::11]', '[1::1]', '[11::]', 'a_b', 'ab', 'a-b', '-ab', '.ab'].map(
        (host) => `http://${host}:80`,
      ),
      ...['a', 'b'].flatMap((end) => [`http://${end}${long}.${long}:80`, `http://${long}.${long}${end}:80`]),
    ]
    const ids = urls.map(replicaIdOf)
    expect(new Set(ids).size).toBe(urls.length)
    expect(urls.map((url) => replicaIdOf(`${url}/`))).toEqual(ids)
    for (const id of ids) expect(id).toMatch(/^[a-z0-9][a-z0-9.-]{0,62}$/)
  })
})

describe('a worker whose replica id another address has', () => {
  test('refuses to start when that is its default, and warns when it was given', async ({ lab }) => {
    const [first, second] = [await lab.replica(), await lab.replica()]
    const id = replicaIdOf(second.url)
    const holder = await lab.worker(first, { replicaId: id })
    await expect.poll(() => holder.state).toBe('ready')
    await expect(lab.worker(second, { replicaId: undefined })).rejects.toMatchObject({
      kind: 'CONFIG',
      message: expect.stringMatching(new RegExp(`${id}.*${second.url}.*${first.url}.*--replica-id`)),
    })
    const given = await lab.worker(second, { replicaId: id })
    await expect.poll(() => given.state).toBe('standby')
    expect(lab.lines.join('')).toMatch(/replica id has another address/)
    const report = await until(lab.redisUrl, (seen) =>
      expect(found(seen, 'replica-address').status).toBe('warning'),
    )
    expect(found(report, 'replica-address').message).toContain('one id has several addresses')
  })

  test('starts as a standby when it is the same address, however spelt', async ({ lab }) => {
    const replica = await lab.replica()
    const holder = await lab.worker(replica, { replicaId: 'gpu-0' })
    await expect.poll(() => holder.state).toBe('ready')
    await lab.worker({ url: `${replica.url.replace('127.0.0.1', 'localhost')}/` }, { replicaId: 'gpu-0' })
    expect(lab.lines.join('')).not.toMatch(/replica id has another address/)
  })
})

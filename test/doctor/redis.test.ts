import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished } from 'vitest'
import { examine } from '../../src/doctor/doctor.ts'
import { connectToServer } from '../../src/redis/connect.ts'
import { freePort, startRedisServer } from '../../src/redis/server.ts'
import { startProxy } from '../support/proxy.ts'
import { test } from '../support/redis.ts'
import { ownCluster } from '../support/redis-cluster.ts'
import { complaints, found, ownServer } from './stage.ts'

test('a Redis with a file and without pools has nothing against it', async () => {
  const { server } = await ownServer('--appendonly', 'yes')
  const report = await examine({ redisUrl: server.url })
  expect(complaints(report)).toEqual([])
  expect(report).toMatchObject({
    ok: true,
    pools: [],
    redis: { role: 'master', mode: 'standalone', maxmemory_policy: 'noeviction', appendonly: true },
  })
  expect(report.redis?.ping_p50_ms).toBeGreaterThan(0)
  // The same clock: what it is off by is the time between two looks, a millisecond as a rule.
  expect(Math.abs(report.redis?.clock_ahead_ms ?? Infinity)).toBeLessThan(500)
})

test('a Redis that evicts is a fault, with the command that mends it', async () => {
  const { server, redis } = await ownServer('--maxmemory-policy', 'allkeys-lru', '--appendonly', 'yes')
  const report = await examine({ redisUrl: server.url })
  expect(complaints(report)).toEqual(['fault redis-eviction redis'])
  expect(report.ok).toBe(false)
  const { advice, value } = found(report, 'redis-eviction')
  expect({ advice, value }).toEqual({
    advice: 'redis-cli CONFIG SET maxmemory-policy noeviction',
    value: 'allkeys-lru',
  })
  await redis.config('SET', 'maxmemory-policy', 'noeviction')
  expect((await examine({ redisUrl: server.url })).ok).toBe(true)
})

test('a Redis that has evicted is a warning even when it does so no more', async () => {
  const { server, redis } = await ownServer('--maxmemory-policy', 'allkeys-lru', '--appendonly', 'yes')
  for (let n = 0; n < 20; n += 1) await redis.set(`key-${n}`, 'x'.repeat(1000))
  await redis.config('SET', 'maxmemory', '1')
  await expect.poll(() => redis.info('stats')).toMatch(/evicted_keys:[1-9]/)
  await redis.config('SET', 'maxmemory', '0')
  await redis.config('SET', 'maxmemory-policy', 'noeviction')
  const report = await examine({ redisUrl: server.url })
  expect(complaints(report)).toEqual(['warning redis-eviction redis'])
})

test('a Redis that a script holds up is a fault, with the command that ends the script', async () => {
  const { server, redis } = await ownServer('--appendonly', 'yes', '--busy-reply-threshold', '50')
  redis.eval('while true do end', 0).catch(() => undefined)
  await expect
    .poll(async () => found(await examine({ redisUrl: server.url }), 'redis-reachable').message)
    .toContain('BUSY')
  const { advice } = found(await examine({ redisUrl: server.url }), 'redis-reachable')
  expect(advice).toContain('SCRIPT KILL')
})

test('a Redis without a file is a warning', async () => {
  const { server } = await ownServer('--appendonly', 'no')
  const report = await examine({ redisUrl: server.url })
  expect(complaints(report)).toEqual(['warning redis-persistence redis'])
  expect(report.ok).toBe(true)
})

test('a Redis that is full is a fault, and can still be looked at', async () => {
  const { server, redis } = await ownServer('--appendonly', 'yes')
  await redis.config('SET', 'maxmemory', '1')
  await expect(redis.set('a', 'b')).rejects.toThrow(/^OOM/)
  const report = await examine({ redisUrl: server.url })
  expect(complaints(report)).toEqual(['fault redis-memory redis'])
})

test('a Redis that cannot write its snapshot, and so takes no writes, is a fault', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'tgi-pool-doctor-'))
  const server = await startRedisServer({ dir, args: ['--appendonly', 'no', '--save', '3600 1'] })
  onTestFinished(() => server.stop())
  const redis = await connectToServer(server.url, { role: 'commands' })
  onTestFinished(() => redis.disconnect())
  await rm(dir, { recursive: true })
  await redis.set('a', 'b')
  await redis.bgsave()
  await expect.poll(() => redis.info('persistence')).toContain('rdb_last_bgsave_status:err')
  await expect(redis.set('a', 'c')).rejects.toThrow(/^MISCONF/)
  const report = await examine({ redisUrl: server.url })
  expect(complaints(report)).toEqual(['fault redis-persistence redis'])
  expect(found(report, 'redis-persistence').message).toBe('the last snapshot failed, so writes are refused')
})

test('a copy of another Redis is a fault', async () => {
  const primary = await ownServer()
  const { server } = await ownServer(
    '--appendonly',
    'yes',
    '--replicaof',
    '127.0.0.1',
    String(primary.server.port),
  )
  const report = await examine({ redisUrl: server.url })
  expect(complaints(report)).toContain('fault redis-role redis')
})

test('a node of a Cluster that is not whole is a fault', async () => {
  const { server } = await ownServer('--appendonly', 'yes', '--cluster-enabled', 'yes')
  const report = await examine({ redisUrl: server.url })
  expect(complaints(report)).toEqual(['fault redis-mode redis'])
})

test('a Cluster is looked at node by node, and is none to complain of', async () => {
  const cluster = await ownCluster()
  const [, second] = cluster.primaries
  if (second === undefined) throw new Error('expected a second node')
  const line = await cluster.connect(second)
  await line.config('SET', 'maxmemory-policy', 'allkeys-lru')
  const report = await examine({ redisUrl: cluster.url })
  expect(found(report, 'redis-mode')).toMatchObject({ status: 'ok', value: 'cluster' })
  expect(complaints(report).filter((complaint) => complaint.startsWith('fault'))).toEqual([
    'fault redis-eviction redis',
  ])
  expect(
    report.findings.find(({ check, status }) => check === 'redis-eviction' && status === 'fault')?.message,
  ).toContain(`127.0.0.1:${second.port}: `)
  expect(report.redis).toMatchObject({ mode: 'cluster' })
})

test('a user that may not look is told which commands are missing, and all else is looked at', async () => {
  const { server, redis } = await ownServer('--appendonly', 'yes')
  await redis.acl('SETUSER', 'blind', 'on', '>pw', '~*', '&*', '+@all', '-info', '-config')
  const redisUrl = server.url.replace('//', '//blind:pw@')
  const report = await examine({ redisUrl })
  expect(complaints(report)).toEqual(['warning redis-permissions redis'])
  expect(found(report, 'redis-permissions').message).toContain('INFO, CONFIG GET')
  expect(found(report, 'pools')).toMatchObject({ status: 'ok' })
  expect(JSON.stringify(report)).not.toContain('pw@')
})

test('a user that may read no key is told so', async () => {
  const { server, redis } = await ownServer('--appendonly', 'yes')
  await redis.acl('SETUSER', 'blind', 'on', '>pw', 'resetkeys', '+@all')
  const report = await examine({ redisUrl: server.url.replace('//', '//blind:pw@') })
  expect(complaints(report)).toEqual(['warning pools pools'])
})

test('a wrong password is one finding that does not repeat it', async () => {
  const { server, redis } = await ownServer()
  await redis.config('SET', 'requirepass', 'right')
  const report = await examine({ redisUrl: server.url.replace('//', '//:wr0ng@') })
  expect(complaints(report)).toEqual(['fault redis-reachable redis'])
  expect(found(report, 'redis-reachable').message).toMatch(/refuses the user or password/)
  expect(JSON.stringify(report)).not.toMatch(/wr0ng|right/)
})

test('a Redis that is not there is one finding, and no pools', async () => {
  const redisUrl = `redis://127.0.0.1:${await freePort()}`
  const report = await examine({ redisUrl })
  expect(report).toMatchObject({ ok: false, redis: null, pools: [] })
  expect(found(report, 'redis-reachable')).toMatchObject({
    status: 'fault',
    message: expect.stringContaining('ECONNREFUSED'),
    advice: 'start Redis there, or set REDIS_URL to its address',
  })
})

test('a Redis that is frozen is one finding, in time', async ({ redis }) => {
  const proxy = await startProxy(redis.port)
  try {
    proxy.stall()
    const report = await examine({ redisUrl: proxy.url, connectTimeoutMs: 300 })
    expect(report.findings).toMatchObject([
      { check: 'redis-reachable', message: expect.stringMatching(/no answer within 300 ms/) },
    ])
  } finally {
    await proxy.close()
  }
})

test('a Redis that freezes while it is looked at is told, in time', async ({ redis }) => {
  const proxy = await startProxy(redis.port)
  try {
    let looks = 0
    const now = () => {
      // The clock is asked for round TIME, in the middle of it all.
      looks += 1
      if (looks === 1) proxy.stall()
      return Date.now()
    }
    const report = await examine({ redisUrl: proxy.url, now })
    expect(report.ok).toBe(false)
    expect(found(report, 'redis-reachable').message).toMatch(/stopped answering/)
  } finally {
    await proxy.close()
  }
})

test('a Redis that is loading its data says how far it is', async () => {
  const primary = await ownServer()
  const filling = primary.redis.pipeline()
  for (let n = 0; n < 200; n += 1) filling.set(`key-${n}`, 'x'.repeat(20_000))
  await filling.exec()
  const { server, redis } = await ownServer('--appendonly', 'no', '--repl-diskless-sync-delay', '0')
  // Time for each key, for tests of Redis itself (redis.conf of 7.0, key-load-delay in microseconds).
  await redis.config('SET', 'key-load-delay', '50000', 'loading-process-events-interval-bytes', '1024')
  await redis.call('REPLICAOF', '127.0.0.1', String(primary.server.port))
  await expect.poll(() => redis.info('persistence'), { interval: 20 }).toMatch(/\bloading:1/)
  const report = await examine({ redisUrl: server.url, connectTimeoutMs: 300 })
  expect(report.findings).toMatchObject([
    {
      check: 'redis-reachable',
      status: 'fault',
      message: expect.stringMatching(/is loading its data \(\d+ %\)/),
    },
  ])
})

test('a clock that differs by more than half a second is a warning', async ({ redis }) => {
  const late = await examine({ redisUrl: redis.url, now: () => Date.now() - 2000 })
  expect(found(late, 'clock')).toMatchObject({
    status: 'warning',
    message: expect.stringMatching(/^Redis's clock is \d{4} ms ahead of this machine's/),
  })
  const early = await examine({ redisUrl: redis.url, now: () => Date.now() + 2000 })
  expect(found(early, 'clock').message).toMatch(/behind/)
})

test('an address that is none is thrown as that', async () => {
  await expect(examine({ redisUrl: 'http://127.0.0.1:1' })).rejects.toMatchObject({ kind: 'CONFIG' })
})

test('a Redis without room for one more is a fault, and one that lets nobody in, too', async () => {
  const { server, redis } = await ownServer('--appendonly', 'yes', '--maxclients', '4')
  const held = [await connectToServer(server.url, { role: 'commands' })]
  held.push(await connectToServer(server.url, { role: 'commands' }))
  await expect.poll(() => redis.info('clients')).toMatch(/connected_clients:3\b/)
  expect(complaints(await examine({ redisUrl: server.url }))).toEqual(['fault redis-clients redis'])
  await expect.poll(() => redis.info('clients')).toMatch(/connected_clients:3\b/)
  held.push(await connectToServer(server.url, { role: 'commands' }))
  const refused = await examine({ redisUrl: server.url })
  expect(complaints(refused)).toEqual(['fault redis-reachable redis'])
  expect(found(refused, 'redis-reachable').advice).toMatch(/maxclients/)
  for (const connection of held) connection.disconnect()
})

import { describe, expect, onTestFinished } from 'vitest'
import { openPool } from '../../src/client/pools.ts'
import type { PoolClient } from '../../src/client/pool-client.ts'
import { poolKeys } from '../../src/contract/keys.ts'
import type { ReplicaEntry } from '../../src/contract/replica-entry.ts'
import { ROLES, everything, test } from './stage.ts'
import type { AclRedis, Role } from './stage.ts'

const KEYS = poolKeys('p')
const EVENTS = KEYS.events('job-1')
const QUEUE = `${KEYS.queuePrefix}:jobs`
const ENTRY = `${QUEUE}:job-1`
const LEASE = KEYS.lease('r1')
const FOREIGN = 'other:key'

type Command = readonly [string, ...string[]]

/** What is the server's, or somebody else's: for nobody here. */
const NOBODY: readonly Command[] = [
  ['FLUSHALL'],
  ['FLUSHDB'],
  ['SWAPDB', '0', '1'],
  ['CONFIG', 'SET', 'maxmemory-policy', 'allkeys-lru'],
  ['ACL', 'LIST'],
  ['ACL', 'SETUSER', 'me', 'on', 'nopass', '+@all'],
  ['KEYS', '*'],
  ['RANDOMKEY'],
  ['DBSIZE'],
  ['MONITOR'],
  ['CLIENT', 'LIST'],
  ['CLIENT', 'KILL', 'TYPE', 'normal'],
  ['CLIENT', 'PAUSE', '1'],
  ['CLIENT', 'TRACKING', 'ON', 'BCAST', 'PREFIX', 'tgi-pool:'],
  ['SHUTDOWN', 'NOSAVE'],
  ['SAVE'],
  ['BGSAVE'],
  ['REPLICAOF', 'NO', 'ONE'],
  ['SLOWLOG', 'GET'],
  ['MODULE', 'LIST'],
  ['SCRIPT', 'FLUSH'],
  ['SCRIPT', 'LOAD', 'return 1'],
  ['FUNCTION', 'KILL'],
  ['FCALL', 'x', '0'],
  ['EVAL_RO', 'return 1', '0'],
  ['SORT', KEYS.index('queued'), 'BY', 'nosort', 'GET', `${QUEUE}:*->data`],
  ['SORT_RO', KEYS.index('queued'), 'BY', 'nosort', 'GET', `${QUEUE}:*->data`],
  ['MIGRATE', '127.0.0.1', '1', EVENTS, '0', '1'],
  ['RESTORE', `${EVENTS}x`, '0', 'x'],
  ['COPY', EVENTS, FOREIGN],
  ['RENAME', EVENTS, FOREIGN],
  ['LATENCY', 'RESET'],
  ['ACL', 'GETUSER', 'operator'],
  ['CLIENT', 'NO-EVICT', 'ON'],
  ['FAILOVER'],
  ['FUNCTION', 'FLUSH'],
  ['FUNCTION', 'LOAD', "#!lua name=x\nredis.register_function('x', function() return 1 end)"],
  ['GET', FOREIGN],
  ['SET', FOREIGN, 'x'],
  ['DEL', FOREIGN],
  ['XRANGE', 'tgi-pool-2:{p}:events:job-1', '-', '+'],
  ['SUBSCRIBE', 'other'],
  ['SSUBSCRIBE', 'other'],
  ['SUBSCRIBE', '__keyspace@0__:x'],
  ['PSUBSCRIBE', '*'],
  ['PSUBSCRIBE', 'tgi-pool:*'],
  ['PUBLISH', 'other', 'x'],
  ['SPUBLISH', 'other', 'x'],
  ['EVAL', "return redis.call('FLUSHALL')", '0'],
  ['EVAL', "return redis.call('GET', KEYS[1])", '1', FOREIGN],
  // A key that a script does not declare is looked at all the same.
  ['EVAL', `return redis.call('SET', '${FOREIGN}', 'x')`, '0'],
  ['EVAL', "return redis.call('KEYS', '*')", '0'],
]

/** Whoever is not an operator changes no pool and loses no stream. */
const OPERATORS_ONLY: readonly Command[] = [
  // It shows the names of all keys, other programs' too.
  ['SCAN', '0'],
  ['CONFIG', 'GET', 'maxmemory'],
  ['HSET', KEYS.config, 'max_queued', '1'],
  ['DEL', KEYS.config],
  ['SREM', KEYS.pools, 'p'],
  ['DEL', KEYS.pools],
  ['DEL', EVENTS],
  ['XDEL', EVENTS, '0-1'],
  ['XTRIM', EVENTS, 'MAXLEN', '0'],
  ['XSETID', EVENTS, '9-9'],
  ['EXPIRE', EVENTS, '1'],
  ['PERSIST', EVENTS],
  ['RENAME', EVENTS, `${EVENTS}x`],
  ['COPY', EVENTS, `${EVENTS}x`],
  ['SET', EVENTS, 'x'],
  ['DEL', KEYS.deadlines],
  ['DEL', KEYS.counters],
  ['HSET', KEYS.counters, 'tokens:out', '0'],
  ['DEL', KEYS.index('queued')],
  ['DEL', KEYS.replicas],
  ['HSET', KEYS.drains, 'r1', '{}'],
  ['HDEL', KEYS.drains, 'r1'],
  ['HKEYS', KEYS.drains],
  ['SADD', KEYS.pools, 'q'],
  ['SCRIPT', 'KILL'],
  ['SPUBLISH', KEYS.controlChannel, 'r1'],
  ['EVAL', "return redis.call('DEL', KEYS[1])", '1', EVENTS],
  ['EVAL', "return redis.call('HSET', KEYS[1], 'max_queued', '1')", '1', KEYS.config],
]

/** What each role must not do beyond that: mostly, the work of another. */
const FORBIDDEN: Readonly<Record<Exclude<Role, 'operator'>, readonly Command[]>> = {
  producer: [
    ['ZRANGE', KEYS.index('queued'), '0', '-1'],
    ['ZMSCORE', KEYS.batchIndex, 'job-1'],
    ['XREAD', 'COUNT', '1', 'STREAMS', EVENTS, '0'],
    ['UNLINK', EVENTS],
    ['ZRANGE', KEYS.deadlines, '0', '-1'],
    ['ZRANGEBYSCORE', KEYS.deadlines, '-inf', '+inf'],
    ['ZREMRANGEBYSCORE', KEYS.index('ended'), '-inf', '+inf'],
    ['HGETALL', KEYS.counters],
    ['LRANGE', `${QUEUE}:wait`, '0', '-1'],
    ['ZRANGE', `${QUEUE}:prioritized`, '0', '-1'],
    // Prompts and locks of others.
    ['LINDEX', `${QUEUE}:active`, '0'],
    ['LRANGE', `${QUEUE}:active`, '0', '-1'],
    ['ZRANGEBYSCORE', `${QUEUE}:prioritized`, '-inf', '+inf'],
    ['ZRANDMEMBER', `${QUEUE}:prioritized`],
    ['ZSCAN', `${QUEUE}:prioritized`, '0'],
    ['HGETALL', ENTRY],
    ['HGET', ENTRY, 'data'],
    ['HMGET', ENTRY, 'data'],
    ['HVALS', ENTRY],
    ['HRANDFIELD', ENTRY, '1', 'WITHVALUES'],
    ['HSCAN', ENTRY, '0'],
    ['DUMP', ENTRY],
    ['COPY', ENTRY, EVENTS],
    ['GET', `${ENTRY}:lock`],
    ['XRANGE', `${QUEUE}:events`, '-', '+'],
    ['HKEYS', KEYS.bytes],
    ['HGETALL', KEYS.bytes],
    ['EVAL', "return redis.call('HGET', KEYS[1], 'data')", '1', ENTRY],
    ['EVAL', "return redis.call('LRANGE', KEYS[1], 0, -1)", '1', `${QUEUE}:active`],
    ['EVAL', "return redis.call('ZRANGE', KEYS[1], 0, -1)", '1', `${QUEUE}:prioritized`],
    // A paused, emptied or broken queue.
    ['HSET', `${QUEUE}:meta`, 'paused', '1'],
    ['HMSET', `${QUEUE}:meta`, 'paused', '1'],
    ['HSETNX', `${QUEUE}:meta`, 'paused', '1'],
    ['HINCRBY', `${QUEUE}:meta`, 'concurrency', '1'],
    ['HDEL', `${QUEUE}:meta`, 'opts.maxLenEvents'],
    ['HMSET', `${QUEUE}:wait`, 'a', 'b'],
    ['HMSET', `${QUEUE}:delayed`, 'a', 'b'],
    ['SET', `${QUEUE}:wait`, 'x'],
    ['INCR', `${QUEUE}:wait`],
    ['XADD', `${QUEUE}:wait`, '*', 'a', 'b'],
    ['ZADD', `${QUEUE}:wait`, '1', 'a'],
    ['LPUSH', `${QUEUE}:active`, 'job-2'],
    ['RENAME', `${QUEUE}:wait`, `${QUEUE}:paused`],
    ['DEL', ENTRY],
    ['UNLINK', ENTRY],
    ['HDEL', ENTRY, 'data'],
    ['HSET', ENTRY, 'data', '{}'],
    ['PEXPIRE', ENTRY, '1'],
    ['DEL', `${ENTRY}:lock`],
    ['SET', `${ENTRY}:lock`, 'me'],
    ['LREM', `${QUEUE}:active`, '0', 'job-1'],
    ['ZREM', `${QUEUE}:prioritized`, 'job-1'],
    ['ZREMRANGEBYRANK', `${QUEUE}:prioritized`, '0', '-1'],
    ['HDEL', KEYS.bytes, 'job-1'],
    ['DEL', KEYS.bytes],
    ['BZPOPMIN', `${QUEUE}:marker`, '0.01'],
    ['ZPOPMIN', `${QUEUE}:prioritized`],
    ['SET', LEASE, 'me'],
    ['HSET', KEYS.replicas, 'r1', '{}'],
    ['SSUBSCRIBE', KEYS.cancelChannel],
    ['CLIENT', 'UNBLOCK', '1'],
  ],
  consumer: [
    ['ZRANGE', KEYS.index('queued'), '0', '-1'],
    ['ZMSCORE', KEYS.batchIndex, 'job-1'],
    ['XADD', EVENTS, '9-1', 'event', 'token', 'data', '{}'],
    ['UNLINK', EVENTS],
    ['PEXPIRE', EVENTS, '1'],
    ['ZADD', KEYS.deadlines, '1', 'job-1'],
    ['ZREM', KEYS.deadlines, 'job-1'],
    ['ZADD', KEYS.index('queued'), '1', 'job-1'],
    ['HINCRBY', KEYS.counters, 'tokens:out', '1'],
    ['ZRANGEBYSCORE', KEYS.deadlines, '-inf', '+inf'],
    ['HGET', ENTRY, 'data'],
    ['HMGET', ENTRY, 'data'],
    ['HGETALL', ENTRY],
    ['HSET', ENTRY, 'data', '{}'],
    ['DEL', ENTRY],
    ['ZADD', `${QUEUE}:prioritized`, '1', 'job-2'],
    ['ZRANGE', `${QUEUE}:prioritized`, '0', '-1'],
    ['LRANGE', `${QUEUE}:wait`, '0', '-1'],
    ['SPUBLISH', KEYS.cancelChannel, 'job-1'],
    ['HGETALL', KEYS.replicas],
    ['LINDEX', `${QUEUE}:active`, '0'],
    ['GET', `${ENTRY}:lock`],
    ['EVAL', 'return 1', '0'],
    ['EVAL', 'while true do end', '0'],
    ['EVALSHA', '0'.repeat(40), '0'],
    ['CLIENT', 'UNBLOCK', '1'],
  ],
  worker: [
    ['ZRANGE', KEYS.index('queued'), '0', '-1'],
    ['ZMSCORE', KEYS.batchIndex, 'job-1'],
    ['UNLINK', EVENTS],
    ['XREAD', 'COUNT', '1', 'STREAMS', EVENTS, '0'],
    ['HSETNX', KEYS.config, 'max_queued', '1'],
    ['SUBSCRIBE', KEYS.cancelChannel],
    ['CLIENT', 'UNBLOCK', '1'],
  ],
  gateway: [
    ['HSETNX', KEYS.config, 'max_queued', '1'],
    ['HSET', `${QUEUE}:meta`, 'paused', '1'],
    ['HMSET', `${QUEUE}:meta`, 'paused', '1'],
    ['DEL', `${QUEUE}:wait`],
    ['SET', LEASE, 'me'],
    ['DEL', LEASE],
    ['HSET', KEYS.replicas, 'r1', '{}'],
    ['BZPOPMIN', `${QUEUE}:marker`, '0.01'],
    ['ZPOPMIN', `${QUEUE}:prioritized`],
    ['RPOPLPUSH', `${QUEUE}:wait`, `${QUEUE}:active`],
    ['HGETALL', ENTRY],
    ['SSUBSCRIBE', KEYS.cancelChannel],
  ],
  metrics: [
    ['ZRANGE', KEYS.index('queued'), '0', '-1'],
    ['ZMSCORE', KEYS.batchIndex, 'job-1'],
    ['XADD', EVENTS, '9-1', 'event', 'token', 'data', '{}'],
    ['XREAD', 'COUNT', '1', 'STREAMS', EVENTS, '0'],
    ['UNLINK', EVENTS],
    ['ZADD', KEYS.deadlines, '1', 'job-1'],
    ['HINCRBY', KEYS.counters, 'tokens:out', '1'],
    ['ZADD', KEYS.index('queued'), '1', 'job-1'],
    ['HSET', ENTRY, 'data', '{}'],
    ['HGETALL', ENTRY],
    ['DEL', ENTRY],
    ['ZADD', `${QUEUE}:prioritized`, '1', 'job-2'],
    ['ZREM', `${QUEUE}:prioritized`, 'job-1'],
    ['LPUSH', `${QUEUE}:wait`, 'job-2'],
    ['SET', LEASE, 'me'],
    ['HSET', KEYS.replicas, 'r1', '{}'],
    ['HDEL', KEYS.replicas, 'r1'],
    ['SPUBLISH', KEYS.cancelChannel, 'job-1'],
    ['CLIENT', 'UNBLOCK', '1'],
    ['EVAL', 'return 1', '0'],
    ['EVALSHA', '0'.repeat(40), '0'],
  ],
}

/** A gateway ends its own blocking reads; a person with the command may ask for the configuration. */
const DANGEROUS: Readonly<Partial<Record<Role, readonly string[]>>> = {
  gateway: ['client|unblock', 'info'],
  operator: ['client|unblock', 'config|get', 'info'],
}

/** How Redis 7 and Valkey say no: to a command, and to one inside a script. */
const REFUSED = /NOPERM|ACL failure in script|can't (run|access)|does not allow its user/

const REPLICA: ReplicaEntry = {
  replica_id: 'r1',
  worker_id: 'w1',
  url: 'http://r1:80',
  state: 'ready',
  versions: null,
  slots: 1,
  slots_configured: 1,
  busy: 0,
  capabilities: [],
  updated_at: 0,
}

/** A pool with a job that waits, its stream, a lease, a replica, and something that is not ours. */
async function furnish({ admin, adminUrl }: AclRedis): Promise<void> {
  const client = await openPool({ redisUrl: adminUrl, pool: 'p' })
  await client.create()
  await client.enqueue({ inputs: 'a prompt nobody must see' }, { jobId: 'job-1' })
  await client.close()
  await admin.set(LEASE, 'w1')
  await admin.hset(KEYS.replicas, 'r1', JSON.stringify(REPLICA))
  await admin.set(FOREIGN, 'x')
}

describe.each(ROLES)('%s', (role) => {
  const commands = role === 'operator' ? NOBODY : [...NOBODY, ...OPERATORS_ONLY, ...FORBIDDEN[role]]

  test(`is refused ${commands.length} commands, and nothing is changed`, async ({ acl }) => {
    await furnish(acl)
    const before = await everything(acl)
    const redis = await acl.as(role)
    for (const [name, ...args] of commands) {
      const answer = await redis.call(name, args).catch((error: unknown) => String(error))
      expect(answer, [name, ...args].join(' ')).toMatch(REFUSED)
    }
    expect((await acl.refused()).length).toBeGreaterThan(0)
    expect(await everything(acl)).toEqual(before)
  })

  test('may use nothing that Redis calls dangerous or for administrators but what is named here', async ({
    acl,
  }) => {
    const dangerous = (
      await Promise.all(['dangerous', 'admin'].map((category) => acl.admin.acl('CAT', category)))
    ).flat()
    const allowed = new Set<string>()
    for (const name of new Set(dangerous as string[])) {
      // With too few arguments for some, which is looked at before the rights: then it was not refused.
      const answer: unknown = await acl.admin
        .call('ACL', ['DRYRUN', role, ...name.split('|'), '1', '1', '1', '1'])
        .catch((error: unknown) => String(error))
      if (answer === 'OK') allowed.add(name)
    }
    expect(allowed).toEqual(new Set(DANGEROUS[role] ?? ['info']))
  })
})

test('nobody comes in without a password, and the health user may only ping', async ({ acl }) => {
  const health = acl.adminUrl.replace(/\/\/.*@/, '//health:any@')
  const { connectToServer } = await import('../../src/redis/connect.ts')
  const anonymous = acl.adminUrl.replace(/\/\/.*@/, '//')
  await expect(connectToServer(anonymous, { role: 'commands' })).rejects.toMatchObject({
    kind: 'REDIS_UNAVAILABLE',
  })
  for (const role of ROLES) {
    const wrong = acl.urlOf(role).replace(/:[^:@]*@/, ':wrong@')
    await expect(connectToServer(wrong, { role: 'commands' })).rejects.toMatchObject({
      kind: 'REDIS_UNAVAILABLE',
    })
  }
  const { Redis } = await import('ioredis')
  const redis = new Redis(health, { enableReadyCheck: false, lazyConnect: true })
  onTestFinished(() => redis.disconnect())
  await redis.connect()
  expect(await redis.ping()).toBe('PONG')
  for (const [name, ...args] of [['INFO'], ['GET', FOREIGN], ...NOBODY] as Command[])
    await expect(redis.call(name, args)).rejects.toThrow(REFUSED)
})

const REFUSED_WORK: readonly [Role, string, (client: PoolClient) => Promise<unknown>][] = [
  ['consumer', 'enqueue', (client) => client.enqueue({ inputs: 'x' }, { jobId: 'job-2' })],
  ['consumer', 'cancel', (client) => client.cancel('job-1')],
  ['metrics', 'enqueue', (client) => client.enqueue({ inputs: 'x' }, { jobId: 'job-2' })],
  ['metrics', 'cancel', (client) => client.cancel('job-1')],
  ['producer', 'change the pool', (client) => client.set({ max_queued: 1 })],
  ['producer', 'make a pool', (client) => client.create({ max_queued: 1 })],
  ['gateway', 'change the pool', (client) => client.set({ max_queued: 1 })],
  ['producer', 'drain a replica', (client) => client.drain('r1')],
  ['gateway', 'drain a replica', (client) => client.drain('r1')],
  ['worker', 'drain a replica', (client) => client.drain('r1')],
  ['worker', 'undrain a replica', (client) => client.undrain('r1')],
  ['worker', 'change the pool', (client) => client.set({ max_queued: 1 })],
  ['consumer', 'forget', (client) => client.forget('job-1')],
]

test.for(REFUSED_WORK)('a %s cannot %s with the library either', async ([role, , work], { acl }) => {
  await furnish(acl)
  const before = await everything(acl)
  const client = await openPool({ redisUrl: acl.urlOf(role), pool: 'p' })
  onTestFinished(() => client.close())
  await expect(work(client)).rejects.toThrow(/does not allow its user/)
  expect(await everything(acl)).toEqual(before)
})

test.for(['worker', 'producer', 'gateway'] as const)(
  'a %s that makes a pool is told who may',
  async (role, { acl }) => {
    await furnish(acl)
    const before = await everything(acl)
    const client = await openPool({ redisUrl: acl.urlOf(role), pool: 'q' })
    onTestFinished(() => client.close())
    await expect(client.create()).rejects.toMatchObject({
      kind: 'POOL_UNAVAILABLE',
      message: expect.stringMatching(
        /no pool "q" \(there are: p\)\. This Redis user may not create pools.*tgi-pool pool create --pool q/,
      ),
    })
    expect(await everything(acl)).toEqual(before)
  },
)

test('a producer that forgets a job only cancels it: its stream stays', async ({ acl }) => {
  await furnish(acl)
  const client = await openPool({ redisUrl: acl.urlOf('producer'), pool: 'p' })
  onTestFinished(() => client.close())
  await expect(client.forget('job-1')).rejects.toThrow(REFUSED)
  expect(await client.job('job-1')).toMatchObject({ error: { code: 'CANCELLED' } })
})

import { describe, expect, test } from 'vitest'
import { judgeServer } from '../../src/doctor/judge-server.ts'
import { isLoopback } from '../../src/runtime/loopback.ts'
import type { ServerFacts } from '../../src/doctor/server-facts.ts'
import { parseServerConfig, parseServerInfo } from '../../src/doctor/server-info.ts'

const GOOD_INFO = {
  redis_version: '7.0.15',
  redis_mode: 'standalone',
  cluster_enabled: '0',
  role: 'master',
  loading: '0',
  connected_clients: '10',
  maxclients: '10000',
  used_memory: '1000000',
  maxmemory: '1000000000',
  maxmemory_policy: 'noeviction',
  total_system_memory: '2000000000',
  mem_fragmentation_ratio: '1.1',
  aof_enabled: '1',
  aof_last_write_status: 'ok',
  aof_last_bgrewrite_status: 'ok',
  rdb_last_bgsave_status: 'ok',
  evicted_keys: '0',
}

/** A server with which all is well, but for what is given. */
function server(
  info: Readonly<Record<string, string>> = {},
  config: Readonly<Record<string, string>> = {},
  rest: Partial<ServerFacts> = {},
): ServerFacts {
  const lines = Object.entries({ ...GOOD_INFO, ...info }).map(([name, value]) => `${name}:${value}`)
  return {
    url: 'redis://127.0.0.1:6379',
    tls: false,
    loopback: true,
    ping: { p50: 0.1, p99: 0.5 },
    clockAheadMs: 0,
    info: parseServerInfo(lines.join('\r\n')),
    config: parseServerConfig({ save: '', appendfsync: 'everysec', ...config }),
    forbidden: [],
    ...rest,
  }
}

function complaints(facts: ServerFacts): string[] {
  return judgeServer(facts)
    .filter(({ status }) => status !== 'ok')
    .map(({ status, check }) => `${status} ${check}`)
}

test('a server as it should be has nothing against it', () => {
  expect(complaints(server())).toEqual([])
})

describe('a server', () => {
  test.each<readonly [string, ServerFacts, string]>([
    ['that is old', server({ redis_version: '6.2.14' }), 'fault redis-version'],
    ['of no known version', server({ redis_version: 'unstable' }), 'warning redis-version'],
    ['that is a sentinel', server({ redis_mode: 'sentinel' }), 'fault redis-mode'],
    ['that copies another one', server({ role: 'slave', master_link_status: 'down' }), 'fault redis-role'],
    ['that evicts', server({ maxmemory_policy: 'volatile-lru' }), 'fault redis-eviction'],
    ['that has evicted', server({ evicted_keys: '3' }), 'warning redis-eviction'],
    ['without a file', server({ aof_enabled: '0' }), 'warning redis-persistence'],
    ['whose file is full', server({ aof_last_write_status: 'err' }), 'fault redis-persistence'],
    ['whose file grows', server({ aof_last_bgrewrite_status: 'err' }), 'warning redis-persistence'],
    [
      'that cannot write snapshots and so refuses writes',
      server({ rdb_last_bgsave_status: 'err' }, { save: '60 1', 'stop-writes-on-bgsave-error': 'yes' }),
      'fault redis-persistence',
    ],
    [
      'that cannot write snapshots and goes on',
      server({ rdb_last_bgsave_status: 'err' }, { save: '60 1', 'stop-writes-on-bgsave-error': 'no' }),
      'warning redis-persistence',
    ],
    ['that never syncs', server({}, { appendfsync: 'no' }), 'warning redis-persistence'],
    ['that is full', server({ used_memory: '1000000000' }), 'fault redis-memory'],
    ['that is nearly full', server({ used_memory: '800000000' }), 'warning redis-memory'],
    [
      'that is full but for buffers that do not count',
      server({ used_memory: '1000000000', mem_not_counted_for_evict: '100000000' }),
      'warning redis-memory',
    ],
    [
      'that takes its whole machine',
      server({ maxmemory: '0', used_memory: '1700000000' }),
      'warning redis-memory',
    ],
    ['that may have more than there is', server({ maxmemory: '3000000000' }), 'warning redis-memory'],
    [
      'that is fragmented',
      server({ used_memory: '200000000', mem_fragmentation_ratio: '1.8' }),
      'warning redis-fragmentation',
    ],
    ['with hardly a connection left', server({ connected_clients: '8000' }), 'warning redis-clients'],
    ['with no connection left', server({ connected_clients: '10000' }), 'fault redis-clients'],
    ['that is slow', server({}, {}, { ping: { p50: 5.1, p99: 9 } }), 'warning redis-latency'],
    ['across a network', server({}, {}, { loopback: false }), 'warning redis-tls'],
    ['whose clock is ahead', server({}, {}, { clockAheadMs: 501 }), 'warning clock'],
    ['whose clock is behind', server({}, {}, { clockAheadMs: -501 }), 'warning clock'],
    ['that loads its file', server({ loading: '1', loading_loaded_perc: '12.34' }), 'fault redis-reachable'],
    [
      'of which CONFIG may not be asked',
      server({}, {}, { forbidden: ['CONFIG GET'] }),
      'warning redis-permissions',
    ],
  ])('%s is told as that and as nothing else', (_, facts, expected) => {
    expect(complaints(facts)).toEqual([expected])
  })

  test('that may not be looked at is not judged', () => {
    const facts = server({}, {}, { forbidden: ['INFO', 'CONFIG GET', 'TIME'] })
    const blind = { ...facts, info: parseServerInfo(''), config: parseServerConfig(undefined) }
    expect(complaints(blind)).toEqual(['warning redis-permissions'])
    expect(judgeServer(blind).find(({ check }) => check === 'redis-permissions')).toMatchObject({
      message: 'some checks were skipped: this Redis user may not run INFO, CONFIG GET, TIME',
      advice: 'ACL SETUSER <user> +info +config|get +time',
    })
  })

  test('tells over TLS what it tells', () => {
    expect(complaints(server({}, {}, { loopback: false, tls: true }))).toEqual([])
  })
})

test.each([
  ['127.0.0.1', true],
  ['127.8.9.1', true],
  ['[::1]', true],
  ['LOCALHOST', true],
  ['127.evil.example', false],
  ['10.0.0.1', false],
  ['redis', false],
])('%s leads to this machine: %s', (host, expected) => {
  expect(isLoopback(host)).toBe(expected)
})

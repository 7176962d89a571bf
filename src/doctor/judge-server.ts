import type { Finding } from './finding.ts'
import { judgeOf } from './finding.ts'
import type { ServerFacts } from './server-facts.ts'
import { productOf } from './server-info.ts'

const redis = judgeOf('redis')

/** A worker refuses what is older (worker/connections.ts). */
const MIN_MAJOR = 7
const SLOW_PING_MS = 5
/** Deadlines use Redis's clock; plain BullMQ producers stamp jobs with their own, in milliseconds. */
const SKEW_MS = 500
const NEARLY_FULL = 0.8
const FRAGMENTED = 1.5
/** Below this the ratio describes the program, not its data (bytes). */
const FRAGMENTED_MIN_BYTES = 100 * 1024 * 1024

/** Holds what was seen of a server against what tgi-pool needs. Pure. */
export function judgeServer(facts: ServerFacts): Finding[] {
  const { info } = facts
  if (info.loading === true) return [loadingFault(facts.url, info.loading_loaded_perc)]
  return [
    redis.ok('redis-reachable', `${facts.url} answers`),
    permissions(facts),
    latency(facts),
    version(facts),
    mode(facts),
    role(facts),
    eviction(facts),
    persistence(facts),
    memory(facts),
    fragmentation(facts),
    clients(facts),
    tls(facts),
    clock(facts),
  ].filter((finding) => finding !== undefined)
}

/** The finding for a server that is still loading its data, so many percent of it done. */
export function loadingFault(url: string, percent: number | undefined): Finding {
  const done = percent === undefined ? '' : ` (${Math.round(percent)} %)`
  return redis.fault(
    'redis-reachable',
    `${url} is loading its data${done}`,
    'wait until it has loaded, then run doctor again',
  )
}

function permissions({ forbidden }: ServerFacts): Finding | undefined {
  if (forbidden.length === 0) return undefined
  const rights: Readonly<Record<string, string>> = { 'CONFIG GET': '+config|get' }
  return redis.warning(
    'redis-permissions',
    `some checks were skipped: this Redis user may not run ${forbidden.join(', ')}`,
    `ACL SETUSER <user> ${forbidden.map((command) => rights[command] ?? `+${command.toLowerCase()}`).join(' ')}`,
  )
}

function latency({ ping }: ServerFacts): Finding {
  const message = `PING takes ${ping.p50} ms in the median, ${ping.p99} ms at the 99th percentile`
  if (ping.p50 <= SLOW_PING_MS) return redis.ok('redis-latency', message, ping.p50)
  return redis.warning(
    'redis-latency',
    `${message}; expected at most ${SLOW_PING_MS} ms`,
    'run workers close to Redis; find slow commands with redis-cli SLOWLOG GET',
    ping.p50,
  )
}

function version({ info, forbidden }: ServerFacts): Finding | undefined {
  const { name, version: got, major } = productOf(info)
  if (forbidden.includes('INFO')) return undefined
  if (major === undefined) {
    return redis.warning('redis-version', `does not report its version; expected ${MIN_MAJOR} or newer`)
  }
  if (major >= MIN_MAJOR) return redis.ok('redis-version', `${name} ${got}`, got)
  return redis.fault(
    'redis-version',
    `${name} ${got}; expected ${MIN_MAJOR} or newer`,
    'install Redis 7 or newer, or Valkey',
    got,
  )
}

function mode({ info }: ServerFacts): Finding | undefined {
  if (info.cluster_enabled === undefined && info.redis_mode === undefined) return undefined
  const got = info.cluster_enabled === true ? 'cluster' : (info.redis_mode ?? 'standalone')
  if (got === 'standalone') return redis.ok('redis-mode', 'one server, no Cluster', got)
  if (got === 'cluster') return redis.ok('redis-mode', 'a node of a Cluster', got)
  return redis.fault(
    'redis-mode',
    `a ${got}; expected a server`,
    got === 'sentinel'
      ? 'set REDIS_URL to redis+sentinel://<host>:<port>/<name>'
      : 'set REDIS_URL to a server or a node of a Cluster',
    got,
  )
}

function role({ info }: ServerFacts): Finding | undefined {
  if (info.role === undefined) return undefined
  if (info.role === 'master') return redis.ok('redis-role', 'a primary', info.role)
  const link = info.master_link_status === 'down' ? ' and has lost it' : ''
  return redis.fault(
    'redis-role',
    `a read-only copy of another server${link}`,
    'set REDIS_URL to the primary, or redis-cli REPLICAOF NO ONE',
    info.role,
  )
}

function eviction({ info, config }: ServerFacts): Finding | undefined {
  const policy = info.maxmemory_policy ?? config['maxmemory-policy']
  const evicted = info.evicted_keys ?? 0
  if (policy !== undefined && policy !== 'noeviction') {
    const lost = evicted > 0 ? `; ${evicted} keys were evicted since it started` : ''
    return redis.fault(
      'redis-eviction',
      `maxmemory-policy is ${policy}, expected noeviction: jobs and events may be evicted${lost}`,
      'redis-cli CONFIG SET maxmemory-policy noeviction',
      policy,
    )
  }
  if (evicted > 0) {
    return redis.warning(
      'redis-eviction',
      `${evicted} keys were evicted since it started: jobs or events may be missing`,
      'set maxmemory-policy noeviction in its configuration file, too; redis-cli CONFIG RESETSTAT clears the count',
      evicted,
    )
  }
  return policy === undefined ? undefined : redis.ok('redis-eviction', 'maxmemory-policy noeviction', policy)
}

function persistence({ info, config }: ServerFacts): Finding | undefined {
  const aof = info.aof_enabled ?? config.appendonly
  if (aof === undefined) return undefined
  const saves = config.save !== undefined && config.save !== ''
  if (info.aof_last_write_status === 'err') {
    return redis.fault(
      'redis-persistence',
      'the append-only file cannot be written, so writes are refused',
      "check the server's log and disk",
    )
  }
  if (info.rdb_last_bgsave_status === 'err') {
    const refuses = saves && config['stop-writes-on-bgsave-error'] !== false
    const message = 'the last snapshot failed'
    const advice = "check the server's log and disk, then redis-cli BGSAVE"
    return refuses
      ? redis.fault('redis-persistence', `${message}, so writes are refused`, advice)
      : redis.warning('redis-persistence', message, advice)
  }
  if (!aof) {
    const instead = saves ? `everything after the last snapshot (save ${config.save})` : 'all jobs and events'
    return redis.warning(
      'redis-persistence',
      `appendonly is no: a restart loses ${instead}`,
      'redis-cli CONFIG SET appendonly yes, and the same in its configuration file',
      'no',
    )
  }
  if (info.aof_last_bgrewrite_status === 'err') {
    return redis.warning(
      'redis-persistence',
      'the last rewrite of the append-only file failed, so it keeps growing',
      "check the server's log and disk, then redis-cli BGREWRITEAOF",
    )
  }
  if (config.appendfsync === 'no') {
    return redis.warning(
      'redis-persistence',
      'appendfsync is no: if the machine crashes, writes that are not on disk yet are lost',
      'redis-cli CONFIG SET appendfsync everysec',
      'appendfsync no',
    )
  }
  return redis.ok('redis-persistence', 'appendonly yes', 'yes')
}

function memory({ info, config }: ServerFacts): Finding | undefined {
  const { used_memory: all, mem_not_counted_for_evict: uncounted = 0, total_system_memory: system } = info
  const max = info.maxmemory ?? config.maxmemory
  if (all === undefined || max === undefined) return undefined
  // Buffers of replicas and of the append-only file do not count against maxmemory.
  const used = max > 0 ? all - uncounted : all
  const limit = max > 0 ? max : system
  if (limit === undefined || limit === 0) return redis.ok('redis-memory', `${megabytes(used)} used`, used)
  const of = max > 0 ? 'maxmemory' : 'all memory of its machine (maxmemory is not set)'
  const message = `${megabytes(used)} used of ${megabytes(limit)}, ${of}`
  const advice = 'redis-cli CONFIG SET maxmemory <bytes>, or lower retention_ms with tgi-pool pool set'
  if (max > 0 && used >= max) {
    return redis.fault('redis-memory', `${message}: it is full and refuses new jobs`, advice, used)
  }
  if (used >= limit * NEARLY_FULL) {
    const refuses = max > 0 ? ': pools refuse new jobs above their max_memory_percent (80 unless set)' : ''
    return redis.warning('redis-memory', `${message}${refuses}`, advice, used)
  }
  if (system !== undefined && system > 0 && max > system) {
    return redis.warning(
      'redis-memory',
      `maxmemory (${megabytes(max)}) is more than its machine has (${megabytes(system)}): the kernel may kill it first`,
      `redis-cli CONFIG SET maxmemory ${Math.floor(system * NEARLY_FULL)}`,
      max,
    )
  }
  return redis.ok('redis-memory', message, used)
}

function fragmentation({ info }: ServerFacts): Finding | undefined {
  const { mem_fragmentation_ratio: ratio, used_memory: used = 0 } = info
  if (ratio === undefined) return undefined
  const message = `takes ${ratio} times the memory of its data`
  if (ratio <= FRAGMENTED || used < FRAGMENTED_MIN_BYTES)
    return redis.ok('redis-fragmentation', message, ratio)
  const advice = 'redis-cli CONFIG SET activedefrag yes, or restart it'
  return redis.warning('redis-fragmentation', message, advice, ratio)
}

function clients({ info, config }: ServerFacts): Finding | undefined {
  const { connected_clients: got } = info
  const max = info.maxclients ?? config.maxclients
  if (got === undefined || max === undefined) return undefined
  const message = `${got} of ${max} connections taken`
  const advice = 'redis-cli CONFIG SET maxclients <n>'
  if (got >= max) return redis.fault('redis-clients', `${message}: new ones are refused`, advice, got)
  if (got >= max * NEARLY_FULL) return redis.warning('redis-clients', message, advice, got)
  return redis.ok('redis-clients', message, got)
}

function tls({ tls: encrypted, loopback, url }: ServerFacts): Finding {
  if (encrypted) return redis.ok('redis-tls', 'connected over TLS')
  if (loopback) return redis.ok('redis-tls', 'on this machine, without TLS')
  return redis.warning(
    'redis-tls',
    `connected without TLS over a network (${url}): prompts, answers and the password can be read in transit`,
    'enable TLS (tls-port) and set REDIS_URL to rediss://…',
  )
}

function clock({ clockAheadMs: ahead, forbidden }: ServerFacts): Finding | undefined {
  if (forbidden.includes('TIME')) return undefined
  const off = Math.abs(ahead)
  if (off <= SKEW_MS) return redis.ok('clock', `Redis's clock and this machine's differ by ${off} ms`, ahead)
  return redis.warning(
    'clock',
    `Redis's clock is ${off} ms ${ahead > 0 ? 'ahead of' : 'behind'} this machine's; deadlines use Redis's clock`,
    'synchronize both with NTP (timedatectl set-ntp true)',
    ahead,
  )
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / 1024 / 1024)} MB`
}

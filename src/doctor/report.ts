import type { Pin } from '../contract/pool-config.ts'
import type { Finding } from './finding.ts'
import type { PoolSight } from './judge-pool.ts'
import type { ReplicaSight } from './judge-replica.ts'
import { showAddress } from './replica-look.ts'
import type { ServerFacts } from './server-facts.ts'
import { productOf } from './server-info.ts'

/** What the report says about a server. Leaves out what this user may not see. */
export interface RedisReport {
  /** Without credentials. */
  readonly url: string
  readonly product: 'Redis' | 'Valkey'
  readonly version?: string | undefined
  readonly role?: string | undefined
  readonly mode?: string | undefined
  readonly ping_p50_ms: number
  readonly ping_p99_ms: number
  /** Redis's clock minus this machine's. */
  readonly clock_ahead_ms: number
  readonly maxmemory_policy?: string | undefined
  readonly appendonly?: boolean | undefined
  readonly used_memory_bytes?: number | undefined
  readonly maxmemory_bytes?: number | undefined
  readonly connected_clients?: number | undefined
  readonly evicted_keys?: number | undefined
}

/** What the report says about a replica. */
interface ReplicaReport {
  readonly replica_id: string
  readonly worker_id: string
  readonly url: string
  readonly state: string
  readonly reason?: string | undefined
  readonly engine_version?: string | undefined
  readonly model_id?: string | undefined
  readonly slots: number
  readonly slots_configured: number
  readonly busy: number
  readonly standbys: number
  /** How old its worker's last word is. */
  readonly age_ms: number
  /** Null if no worker holds it; without `ttl_ms` it never expires. */
  readonly lease: { readonly holder: string; readonly ttl_ms?: number | undefined } | null
  /** From this machine. */
  readonly reachable: boolean
}

/** What the report says about a pool. */
export interface PoolReport {
  readonly pool_id: string
  /** Undefined when its config cannot be read. */
  readonly pin?: Pin | undefined
  readonly max_queued?: number | undefined
  readonly batch_max_queued?: number | undefined
  readonly max_queued_bytes?: number | undefined
  /** Bytes of the jobs that have not ended. */
  readonly queued_bytes: number
  readonly waiting: { readonly interactive: number; readonly batch: number; readonly delayed: number }
  readonly active: number
  readonly oldest_wait_ms: number
  readonly paused: boolean
  /** Jobs past their deadline that have not been ended. */
  readonly overdue: number
  readonly replicas: readonly ReplicaReport[]
}

/** All that was seen. */
export interface Report {
  /** Null when it does not answer. */
  readonly redis: RedisReport | null
  /** Those that could be read. */
  readonly pools: readonly PoolReport[]
  readonly findings: readonly Finding[]
  /** Nothing is a fault. */
  readonly ok: boolean
}

/** Reports a server. */
export function redisReport(facts: ServerFacts): RedisReport {
  const { info, config } = facts
  const { name, version } = productOf(info)
  return {
    url: facts.url,
    product: name,
    version,
    role: info.role,
    mode: info.redis_mode,
    ping_p50_ms: facts.ping.p50,
    ping_p99_ms: facts.ping.p99,
    clock_ahead_ms: facts.clockAheadMs,
    maxmemory_policy: info.maxmemory_policy ?? config['maxmemory-policy'],
    appendonly: info.aof_enabled ?? config.appendonly,
    used_memory_bytes: info.used_memory,
    maxmemory_bytes: info.maxmemory ?? config.maxmemory,
    connected_clients: info.connected_clients,
    evicted_keys: info.evicted_keys,
  }
}

/** Reports a pool. */
export function poolReport(
  { config, facts, look }: PoolSight,
  replicas: readonly ReplicaSight[],
): PoolReport {
  const { interactive, batch, delayed, active } = facts.depth
  return {
    pool_id: facts.poolId,
    pin: config?.pin,
    max_queued: config?.max_queued,
    batch_max_queued: config?.batch_max_queued,
    max_queued_bytes: config?.max_queued_bytes,
    queued_bytes: look.bytes,
    waiting: { interactive, batch, delayed },
    active,
    oldest_wait_ms: Math.round(facts.oldestWaitSeconds * 1000),
    paused: look.paused.length > 0,
    overdue: look.overdue,
    replicas: replicas.map(replicaReport),
  }
}

function replicaReport({ entry, standbys, lease, ageMs, reach }: ReplicaSight): ReplicaReport {
  return {
    replica_id: entry.replica_id,
    worker_id: entry.worker_id,
    url: showAddress(entry.url),
    state: entry.state,
    reason: entry.reason,
    engine_version: entry.versions?.engine_version,
    model_id: entry.versions?.model_id,
    slots: entry.slots,
    slots_configured: entry.slots_configured,
    busy: entry.busy,
    standbys,
    age_ms: ageMs,
    lease: lease === undefined ? null : { holder: lease.holder, ttl_ms: lease.ttlMs },
    reachable: reach.reached,
  }
}

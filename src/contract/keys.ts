import { JOB_STATES } from './job-states.ts'
import type { JobStateName } from './job-states.ts'

/** The prefix of all keys unless configured otherwise. */
export const DEFAULT_PREFIX = 'tgi-pool'

/**
 * Every Redis key and channel of one pool. All carry the hash tag `{<pool>}`, so that on a Cluster a pool lives
 * on one shard and its scripts may touch several keys.
 *
 * | key | what |
 * |---|---|
 * | `<prefix>:pools` | SET of pool names |
 * | `<prefix>:{<pool>}:config` | HASH: defaults, limits, pin; of a deleted pool only a mark, for a day |
 * | `<prefix>:{<pool>}:jobs:…`, `…:batch:…` | BullMQ's own: the queues of interactive and of batch jobs |
 * | `<prefix>:{<pool>}:bytes` | HASH job id → bytes of its body in a queue, and `:total` |
 * | `<prefix>:{<pool>}:events:<job_id>` | the job's stream |
 * | `<prefix>:{<pool>}:deadlines` | ZSET job id → deadline (ms since 1970) |
 * | `<prefix>:{<pool>}:counters` | HASH: jobs by outcome, tokens, histogram buckets (fields: counters.ts) |
 * | `<prefix>:{<pool>}:index:<state>` | ZSET job id → when it entered that state (ms since 1970); a finished job leaves with its stream |
 * | `<prefix>:{<pool>}:index:batch` | ZSET id of a batch job in the index → when its stream expires (ms since 1970), `inf` until it ends |
 * | `<prefix>:{<pool>}:index:expiry` | ZSET job id → when the stream of a finished job expires (ms since 1970): then it leaves the index |
 * | `<prefix>:{<pool>}:scan` | which process scans for waiting jobs of plain BullMQ producers, with a TTL |
 * | `<prefix>:{<pool>}:replicas` | HASH: the registry |
 * | `<prefix>:{<pool>}:lease:<replica_id>` | the lease, with a TTL |
 * | `<prefix>:{<pool>}:drains` | HASH replica id → JSON `{since, grace_ms?}`: replicas that are to take nothing |
 * | `<prefix>:{<pool>}:cancel` | pub/sub: a job was sealed; wakes only, state lives in the stream |
 * | `<prefix>:{<pool>}:control` | pub/sub: an operator wished something; wakes only, state lives in the keys above |
 */
export interface PoolKeys {
  readonly pool: string
  readonly pools: string
  /** BullMQ's `prefix` option. */
  readonly queuePrefix: string
  readonly config: string
  readonly bytes: string
  readonly deadlines: string
  readonly counters: string
  /** One for each of {@link JOB_STATES}, in that order. */
  readonly indexes: readonly string[]
  /** Which jobs in the index are batch jobs. */
  readonly batchIndex: string
  readonly expiry: string
  readonly scan: string
  readonly replicas: string
  readonly drains: string
  readonly cancelChannel: string
  readonly controlChannel: string
  events(jobId: string): string
  index(state: JobStateName): string
  lease(replicaId: string): string
}

/**
 * The names of a pool's BullMQ queues. Older producers put batch jobs in `jobs`, with the priority of batch jobs there.
 */
export const QUEUE_NAMES = { interactive: 'jobs', batch: 'batch' } as const

/** The name every BullMQ job of ours has. */
export const JOB_NAME = 'generate'

/** The SET that names all pools. */
export function poolsKey(prefix: string = DEFAULT_PREFIX): string {
  return `${prefix}:pools`
}

/** The keys of a pool. */
export function poolKeys(pool: string, prefix: string = DEFAULT_PREFIX): PoolKeys {
  const base = `${prefix}:{${pool}}`
  const index = (state: JobStateName) => `${base}:index:${state}`
  return {
    pool,
    pools: poolsKey(prefix),
    queuePrefix: base,
    config: `${base}:config`,
    bytes: `${base}:bytes`,
    deadlines: `${base}:deadlines`,
    counters: `${base}:counters`,
    indexes: JOB_STATES.map(index),
    batchIndex: `${base}:index:batch`,
    index,
    expiry: `${base}:index:expiry`,
    scan: `${base}:scan`,
    replicas: `${base}:replicas`,
    drains: `${base}:drains`,
    cancelChannel: `${base}:cancel`,
    controlChannel: `${base}:control`,
    events: (jobId) => `${base}:events:${jobId}`,
    lease: (replicaId) => `${base}:lease:${replicaId}`,
  }
}

import { Cluster } from 'ioredis'
import { closest } from '../contract/closest.ts'
import { poolIdSchema } from '../contract/ids.ts'
import { DEFAULT_PREFIX, poolKeys, poolsKey } from '../contract/keys.ts'
import { readPools } from '../metrics/pool-facts.ts'
import type { PoolFacts, PoolReading, ReplicaFacts } from '../metrics/pool-facts.ts'
import { readPoolConfig } from '../pool/config-store.ts'
import { readDeletion } from '../pool/deletion.ts'
import { redactUrl } from '../redis/address.ts'
import { disconnectRedis, redisTimeMs } from '../redis/connect.ts'
import type { RedisConnection } from '../redis/connect.ts'
import { shellWord } from '../runtime/shell-word.ts'
import { judgeOf } from './finding.ts'
import type { Finding } from './finding.ts'
import { judgePool } from './judge-pool.ts'
import type { PoolSight } from './judge-pool.ts'
import { judgeReplica } from './judge-replica.ts'
import type { ReplicaSight } from './judge-replica.ts'
import { judgeServer } from './judge-server.ts'
import { LineLost, lookAt } from './look.ts'
import { openServer } from './open-server.ts'
import { lookAtQueue } from './pool-look.ts'
import { lookAtLease, reach } from './replica-look.ts'
import { poolReport, redisReport } from './report.ts'
import type { PoolReport, RedisReport, Report } from './report.ts'
import { readServer } from './server-facts.ts'
import { judgeAddresses } from './shared-addresses.ts'
import { createKeyFor } from '../tgi/key-addresses.ts'
import type { KeyFor } from '../tgi/key-addresses.ts'

/** What to look at. */
export interface DoctorOptions {
  readonly redisUrl: string
  readonly prefix?: string | undefined
  /** Only this pool. @defaultValue all pools */
  readonly pool?: string | undefined
  /** Sent as a Bearer key to the replicas of `apiKeyFor`; TGI asks for none here, a proxy in front of it may. */
  readonly apiKey?: string | undefined
  /** Addresses that may have the key. @defaultValue none: what stands in Redis is not trusted with it */
  readonly apiKeyFor?: readonly string[] | undefined
  /** How long Redis may take to let us in (ms). @defaultValue 5000 */
  readonly connectTimeoutMs?: number | undefined
  /** How long each replica may take for each of two questions (ms). @defaultValue 2000 */
  readonly replicaTimeoutMs?: number | undefined
  /** This machine's clock. @defaultValue Date.now */
  readonly now?: (() => number) | undefined
}

/** What one examination shares. */
interface Examination {
  readonly options: DoctorOptions
  readonly keyFor: KeyFor
  readonly redis: RedisConnection
  readonly prefix: string
  readonly findings: Finding[]
  server: RedisReport | null
  readonly pools: PoolReport[]
}

/**
 * Looks at Redis, the pools and their replicas, and says what is wrong and what to do about it. It only reads: nothing
 * in Redis changes. Every look has its bound, so that it ends whatever hangs, and what keeps it from looking is a
 * finding, too.
 *
 * @throws `PoolError` `CONFIG` for an address of Redis, or one in `apiKeyFor`, that is none.
 */
export async function examine(options: DoctorOptions): Promise<Report> {
  const keyFor = createKeyFor(options.apiKey, options.apiKeyFor ?? [])
  const opened = await openServer(options.redisUrl, options.connectTimeoutMs ?? 5000)
  if (!('redis' in opened)) return { redis: null, pools: [], findings: [opened.finding], ok: false }
  const { redis } = opened
  const prefix = options.prefix ?? DEFAULT_PREFIX
  const examination: Examination = { options, keyFor, redis, prefix, findings: [], server: null, pools: [] }
  try {
    await examineServer(examination)
    await examinePools(examination)
  } catch (error) {
    if (!(error instanceof LineLost)) throw error
    const message = `${redactUrl(options.redisUrl)} stopped answering: ${error.message}`
    examination.findings.push(
      judgeOf('redis').fault('redis-reachable', message, "check the server's log, then run doctor again"),
    )
  } finally {
    disconnectRedis(redis)
  }
  const { findings, server, pools } = examination
  return { redis: server, pools, findings, ok: findings.every(({ status }) => status !== 'fault') }
}

async function examineServer(examination: Examination): Promise<void> {
  const { redis, options, findings } = examination
  if (redis instanceof Cluster) return examineNodes(examination, redis)
  const read = readServer(redis, options.redisUrl, options.now)
  const seen = await lookAt('redis-reachable', 'redis', read)
  if (!seen.ok) return void findings.push(seen.finding)
  findings.push(...judgeServer(seen.facts))
  examination.server = redisReport(seen.facts)
}

/** Examines every primary of a Cluster; reports an ok only for the first. */
async function examineNodes(examination: Examination, cluster: Cluster): Promise<void> {
  const { options, findings } = examination
  const scheme = options.redisUrl.startsWith('rediss') ? 'rediss' : 'redis'
  for (const node of cluster.nodes('master')) {
    const { host, port } = node.options
    const url = `${scheme}://${host}:${port}`
    const seen = await lookAt('redis-reachable', 'redis', readServer(node, url, options.now))
    const found = seen.ok ? judgeServer(seen.facts) : [seen.finding]
    const first = examination.server === null
    if (seen.ok && first) examination.server = redisReport(seen.facts)
    for (const finding of found) {
      if (finding.status !== 'ok')
        findings.push({ ...finding, message: `${host}:${port}: ${finding.message}` })
      else if (first) findings.push(finding)
    }
  }
}

async function examinePools(examination: Examination): Promise<void> {
  const { redis, prefix, options, findings } = examination
  const names = await lookAt('pools', 'pools', redis.smembers(poolsKey(prefix)))
  const read = await lookAt('pools', 'pools', readPools(redis, prefix))
  if (!names.ok) return void findings.push(names.finding)
  if (!read.ok) return void findings.push(read.finding)
  const { pool } = options
  findings.push(...judgeNames(names.facts, prefix))
  if (pool !== undefined && !read.facts.some(({ poolId }) => poolId === pool)) {
    findings.push(
      judgeUnknown(
        pool,
        read.facts.map(({ poolId }) => poolId),
        prefix,
      ),
    )
    return
  }
  const chosen = read.facts.filter(({ poolId }) => pool === undefined || poolId === pool)
  await Promise.all(chosen.map((reading) => examinePool(examination, reading)))
  const replicas = read.facts.flatMap((reading) => (reading.readable ? reading.replicas : []))
  const ofChosen = (subject: string) => pool === undefined || subject.startsWith(`replica ${pool}/`)
  findings.push(...judgeAddresses(replicas).filter(({ subject }) => ofChosen(subject)))
  examination.pools.sort((a, b) => (a.pool_id < b.pool_id ? -1 : 1))
}

function judgeNames(names: readonly string[], prefix: string): Finding[] {
  const judge = judgeOf('pools')
  const wrong = names.filter((name) => !poolIdSchema.safeParse(name).success)
  if (wrong.length === 0)
    return [judge.ok('pools', names.length === 1 ? '1 pool' : `${names.length} pools`, names.length)]
  return wrong.map((name) =>
    judge.warning(
      'pools',
      `${JSON.stringify(name.slice(0, 100))} in the list of pools is not a valid name`,
      `redis-cli SREM ${shellWord(poolsKey(prefix))} ${name.length > 100 ? '<that name>' : shellWord(name)}`,
    ),
  )
}

function judgeUnknown(pool: string, known: readonly string[], prefix: string): Finding {
  const near = closest(pool, known)
  const all = known.length === 0 ? 'there are none' : `there are: ${known.slice(0, 10).join(', ')}`
  const check =
    near === undefined ? 'check the name' : `tgi-pool doctor --pool ${shellWord(near)}, if that is meant`
  return judgeOf(`pool ${pool}`).fault(
    'pool-config',
    `no such pool under the prefix ${prefix} (${all})`,
    `${check}; or create it: tgi-pool pool create --pool ${shellWord(pool)}`,
  )
}

/** Judges a pool's config; undefined when it cannot be read. */
async function examineConfig(
  { redis, prefix, findings }: Examination,
  pool: string,
): Promise<PoolSight['config']> {
  const keys = poolKeys(pool, prefix)
  const subject = `pool ${pool}`
  const read = await lookAt('pool-config', subject, readPoolConfig(redis, keys))
  if (!read.ok) {
    const deletion = await readDeletion(redis, keys).catch(() => undefined)
    const advice =
      deletion === undefined
        ? `redis-cli HGETALL ${shellWord(keys.config)}, and tgi-pool pool set`
        : `tgi-pool pool delete ${shellWord(pool)}`
    findings.push(withAdvice(read.finding, advice))
    return undefined
  }
  findings.push(judgeOf(subject).ok('pool-config', 'its config is valid'))
  return read.facts
}

async function examinePool(examination: Examination, reading: PoolReading): Promise<void> {
  const { redis, prefix, findings } = examination
  const { poolId } = reading
  const keys = poolKeys(poolId, prefix)
  const config = await examineConfig(examination, poolId)
  if (!reading.readable) {
    const blind = await lookAt('pool-registry', `pool ${poolId}`, Promise.reject(reading.error as Error))
    if (!blind.ok) findings.push(withAdvice(blind.finding, `redis-cli HGETALL ${shellWord(keys.replicas)}`))
    return
  }
  const looked = await lookAt(
    'pool-queue',
    `pool ${poolId}`,
    redisTimeMs(redis, keys.config).then((now) => lookAtQueue(redis, keys, now)),
  )
  if (!looked.ok) return void findings.push(looked.finding)
  const sight: PoolSight = { config, queuePrefix: keys.queuePrefix, facts: reading, look: looked.facts }
  findings.push(...judgePool(sight))
  examination.pools.push(poolReport(sight, await examineReplicas(examination, reading)))
}

async function examineReplicas(
  examination: Examination,
  { poolId, replicas }: PoolFacts,
): Promise<ReplicaSight[]> {
  const { findings } = examination
  const sights = await Promise.all(replicas.map((replica) => seeReplica(examination, poolId, replica)))
  const seen = sights.filter((sight) => sight !== undefined)
  for (const sight of seen) findings.push(...judgeReplica(sight))
  return seen
}

async function seeReplica(
  { redis, prefix, options, keyFor, findings }: Examination,
  poolId: string,
  { entry, standbys }: ReplicaFacts,
): Promise<ReplicaSight | undefined> {
  const keys = poolKeys(poolId, prefix)
  const looked = await lookAt(
    'replica-lease',
    `replica ${poolId}/${entry.replica_id}`,
    Promise.all([lookAtLease(redis, keys, entry.replica_id), redisTimeMs(redis, keys.config)]),
  )
  if (!looked.ok) {
    findings.push(looked.finding)
    return undefined
  }
  const [lease, now] = looked.facts
  return {
    poolId,
    entry,
    standbys,
    lease,
    ageMs: now - entry.updated_at,
    reach: await reach(entry.url, keyFor(entry.url), options.replicaTimeoutMs ?? 2000),
    keys: { registry: keys.replicas, lease: keys.lease(entry.replica_id) },
  }
}

/** Adds advice where the fault itself has none. */
function withAdvice(finding: Finding, advice: string): Finding {
  return finding.status === 'fault' && finding.advice === undefined ? { ...finding, advice } : finding
}

import { Cluster } from 'ioredis'
import type { JobEndListener } from '../attempt/job-end.ts'
import { PoolError } from '../contract/error.ts'
import { parseOrThrow } from '../contract/format-issues.ts'
import { jobIdSchema, poolIdSchema } from '../contract/ids.ts'
import { DEFAULT_PREFIX, poolKeys, poolsKey } from '../contract/keys.ts'
import type { PoolKeys } from '../contract/keys.ts'
import { listPools, readPoolNames } from '../pool/config-store.ts'
import type { ListedPool } from '../pool/config-store.ts'
import { redactUrl } from '../redis/address.ts'
import { connectRedis, connectToShard, disconnectRedis } from '../redis/connect.ts'
import { bareCause, describeRefusal, isConnectionError, isForbidden } from '../redis/fault.ts'
import { readMemory } from '../redis/memory.ts'
import { unlessAborted } from '../runtime/unless-aborted.ts'
import { createHub } from '../stream/hub.ts'
import { watchMemory } from './memory-watch.ts'
import type { MemoryWatch } from './memory-watch.ts'
import { createPoolClient } from './pool-client.ts'
import type { CallOptions, PoolClient } from './pool-client.ts'
import { connectTo, findRedis } from './redis-url.ts'

/** Where to find the pools. */
export interface PoolsOptions {
  /**
   * Address of Redis: `redis://[user:password@]host:port[/database]`, `rediss://…` for TLS, any node of a Cluster, or
   * `redis+sentinel://host:port[,host:port…]/<name>`.
   *
   * @defaultValue `REDIS_URL` in the environment unless it is empty, else `redis://127.0.0.1:6379`
   */
  readonly redisUrl?: string | undefined
  /**
   * Prefix of all Redis keys; all processes of a pool must use the same.
   *
   * @defaultValue `tgi-pool`
   */
  readonly prefix?: string | undefined
  /**
   * Called for each job that this process ends itself, by a cancel or because its deadline passed; not for jobs that a
   * worker or another process ends. Must not throw.
   */
  readonly onJobEnd?: JobEndListener | undefined
}

/** Which pool, and where. */
export interface PoolClientOptions extends PoolsOptions {
  /** The pool's name: 1 to 63 characters of `a-z 0-9 . -`. It need not exist yet. */
  readonly pool: string
}

/** All pools of one Redis, over connections that they share. */
export interface Pools {
  /**
   * A client of one pool; the same one each time, until it is closed. The pool need not be there yet.
   *
   * @throws {@link PoolError} `INVALID_PARAMS` for an invalid name.
   */
  pool(pool: string): PoolClient
  /** All pools, by name. A pool whose config cannot be read has an `error` in its place. */
  list(options?: CallOptions): Promise<ListedPool[]>
  /**
   * The pool a job is in, when only its id is known. Pools that the Redis user may not read are skipped.
   *
   * @throws {@link PoolError} `UNKNOWN_JOB` if no pool has it; `ID_CONFLICT` if several do; `POOL_UNREADY` if none of
   * those that can be read has it, and others cannot be read.
   */
  locate(jobId: string, options?: CallOptions): Promise<PoolClient>
  /** Resolves when Redis answers. @throws {@link PoolError} `REDIS_UNAVAILABLE`. */
  ping(options?: CallOptions): Promise<void>
  /** Ends every read and closes the connections. Idempotent. */
  close(): Promise<void>
}

/**
 * Connects to a pool; resolves when Redis answers. Close it when you are done: its connections keep the process alive.
 *
 * @throws {@link PoolError} `REDIS_UNAVAILABLE` when Redis does not answer within 5 s or refuses us, `CONFIG` for a bad address,
 * `INVALID_PARAMS` for a bad pool name.
 */
export async function openPool(options: PoolClientOptions): Promise<PoolClient> {
  parseOrThrow(poolIdSchema, options.pool, 'pool')
  const pools = await openPools(options)
  return { ...pools.pool(options.pool), close: () => pools.close() }
}

/**
 * Connects to every pool of a Redis, over connections that they share; resolves when Redis answers. Close it when you are done.
 *
 * @throws {@link PoolError} `REDIS_UNAVAILABLE` when Redis does not answer within 5 s or refuses us, `CONFIG` for a bad address.
 */
export async function openPools(options: PoolsOptions = {}): Promise<Pools> {
  const { prefix = DEFAULT_PREFIX } = options
  const address = findRedis(options.redisUrl)
  const { url: redisUrl } = address
  const redis = await connectTo(address, (url) => connectRedis(url, { role: 'commands' }))
  const hub = createHub({
    connect: (role, keys) => connectToShard(redisUrl, keys.config, { role }),
    perPool: redis instanceof Cluster,
  })
  const clients = new Map<string, PoolClient>()
  const watch = (keys: PoolKeys) => watchMemory(() => readMemory(redis, keys.config))
  let ofServer: MemoryWatch | undefined
  // On a Cluster each pool is on its own shard.
  const memoryOf = (keys: PoolKeys) => (redis instanceof Cluster ? watch(keys) : (ofServer ??= watch(keys)))
  let closed: Promise<void> | undefined
  const withAddress = <T>(work: Promise<T>) => named(redisUrl, work, () => closed !== undefined)

  function pool(id: string): PoolClient {
    const keys = poolKeys(parseOrThrow(poolIdSchema, id, 'pool'), prefix)
    const known = clients.get(id)
    if (known !== undefined) return known
    const client = createPoolClient(
      { redis, hub, prefix, memoryOf, withAddress, onJobEnd: options.onJobEnd },
      keys,
    )
    const kept: PoolClient = {
      ...client,
      close() {
        clients.delete(id)
        return client.close()
      },
    }
    clients.set(id, kept)
    return kept
  }

  async function locate(jobId: string): Promise<PoolClient> {
    parseOrThrow(jobIdSchema, jobId, 'job id')
    const { pools: all } = await readPoolNames(redis, poolsKey(prefix))
    const answers = await Promise.allSettled(all.map((id) => pool(id).has(jobId)))
    const [first, ...others] = all.filter((_, index) => isTrue(answers[index]))
    if (first === undefined) {
      throwUnread(jobId, all, answers)
      throw new PoolError('UNKNOWN_JOB', `no job ${jobId} in any pool, or its events have expired`)
    }
    if (others.length > 0) {
      throw new PoolError(
        'ID_CONFLICT',
        `job ${jobId} is in pools ${[first, ...others].join(', ')}: say which`,
      )
    }
    return pool(first)
  }

  async function close(): Promise<void> {
    await Promise.all([...clients.values()].map((client) => client.close()))
    hub.close()
    disconnectRedis(redis)
  }

  return {
    pool,
    list: (call) => unlessAborted(withAddress(listPools(redis, prefix)), call?.signal),
    locate: (jobId, call) => unlessAborted(withAddress(locate(jobId)), call?.signal),
    ping: (call) => unlessAborted(withAddress(redis.time().then(() => undefined)), call?.signal),
    close() {
      closed ??= close()
      return closed
    },
  }
}

function isTrue(answer: PromiseSettledResult<boolean> | undefined): boolean {
  return answer?.status === 'fulfilled' && answer.value
}

/**
 * Of a job that was not found: throws if it may be in a pool that could not be read. One that the Redis user may not read is
 * none of its pools.
 */
function throwUnread(
  jobId: string,
  pools: readonly string[],
  answers: readonly PromiseSettledResult<boolean>[],
): void {
  for (const [index, answer] of answers.entries()) {
    if (answer.status === 'fulfilled') continue
    const error: unknown = answer.reason
    if (error instanceof PoolError && error.kind === 'REDIS_UNAVAILABLE') {
      if (isForbidden(error.cause)) continue
      throw error
    }
    const cause = bareCause(error)
    const why = `pool ${pools[index]} cannot be read: ${cause.message}`
    throw new PoolError('POOL_UNREADY', `job ${jobId} was not found, but ${why}`, { cause })
  }
}

/** Adds the address to errors of the connection, unless it was we who closed it. */
async function named<T>(redisUrl: string, work: Promise<T>, isClosed: () => boolean): Promise<T> {
  return work.catch((error: unknown) => {
    const where = redactUrl(redisUrl)
    const cause = bareCause(error)
    if (isConnectionError(error)) {
      if (isClosed()) throw new PoolError('REDIS_UNAVAILABLE', 'the pool client was closed', { cause })
      throw new PoolError('REDIS_UNAVAILABLE', `Redis at ${where} went away`, { cause })
    }
    if (isForbidden(error)) {
      const command = /'([^']+)' command/.exec(cause.message)?.[1]
      const what = command === undefined ? 'what this takes' : `what this takes (${command})`
      throw new PoolError('REDIS_UNAVAILABLE', `Redis at ${where} does not allow its user ${what}`, { cause })
    }
    const refusal = describeRefusal(error)
    if (refusal !== undefined) {
      throw new PoolError('REDIS_UNAVAILABLE', `Redis at ${where} ${refusal}`, { cause })
    }
    throw error
  })
}

import { Cluster, Redis } from 'ioredis'
import type { RedisOptions } from 'ioredis'
import { checkRedisUrl, databaseOf } from './address.ts'
import {
  BoundCluster,
  forgetCluster,
  noteNodes,
  primaryOf,
  rememberCluster,
  seenCluster,
  slotOf,
} from './cluster.ts'
import type { SeenCluster } from './cluster.ts'
import { redisUnavailable } from './fault.ts'
import { isSentinelAddress, parseSentinelAddress } from './sentinel-address.ts'
import { shardConnector } from './shard-connector.ts'

/** A connection to Redis: to a single server, to what sentinels call the primary, or to all nodes of a Cluster. */
export type RedisConnection = Redis | Cluster

/**
 * What a connection is for, since each purpose wants another answer to a broken line:
 *
 * - `commands`: a caller waits: one reconnection or ten seconds of silence, then the error.
 * - `writer`: the event log. Nothing is queued while the line is down and nothing is sent again by the driver:
 *   whoever writes looks at the stream first and decides. (`maxRetriesPerRequest: 0` is what makes ioredis 6
 *   reject commands in flight at the moment the line breaks; with `null` and no resend they never settle.)
 * - `blocking`: XREAD BLOCK and subscriptions, one user each, who starts again by itself.
 * - `lookup`: reads whose answers only mean something on the line they were asked on: nothing is sent again.
 * - `queue`: BullMQ's own, which insists on waiting for ever.
 *
 * On a Cluster nothing changes in that, but for one thing: `commands` follow MOVED and ASK, which say that a node has
 * not executed them.
 */
export type ConnectionRole = 'commands' | 'writer' | 'blocking' | 'lookup' | 'queue'

type RoleOptions = Pick<
  RedisOptions,
  | 'maxRetriesPerRequest'
  | 'enableOfflineQueue'
  | 'autoResendUnfulfilledCommands'
  | 'commandTimeout'
  | 'socketTimeout'
>

/**
 * `socketTimeout` breaks a line on which nothing answers for so long: behind a primary that froze another one may have
 * taken over, and only a new line finds it. BullMQ's reads block for up to 10 s, a feed's (stream/feed.ts) for 5 s.
 */
const ROLE_OPTIONS: Record<ConnectionRole, RoleOptions> = {
  commands: { maxRetriesPerRequest: 1, commandTimeout: 10_000, socketTimeout: 5000 },
  writer: {
    maxRetriesPerRequest: 0,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    socketTimeout: 5000,
  },
  blocking: { maxRetriesPerRequest: 0, autoResendUnfulfilledCommands: false, socketTimeout: 10_000 },
  lookup: {
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    commandTimeout: 10_000,
    socketTimeout: 5000,
  },
  queue: { maxRetriesPerRequest: null, socketTimeout: 15_000 },
}

/** How a connection is made. */
export interface ConnectOptions {
  readonly role: ConnectionRole
  /** Called for every fault of a connection that was up; the connection comes back by itself. */
  readonly onError?: ((error: Error) => void) | undefined
  /** The first connection's time limit, all in all. @defaultValue 5000 */
  readonly connectTimeoutMs?: number | undefined
}

/**
 * A server that loads its file is asked again after this time at most (ms). Its own guess, which ioredis 6 would wait for
 * (built/Redis.js, up to 10 s), is in whole seconds and often far too long.
 */
const LOADING_RETRY_MS = 100

/** How often a Cluster's nodes are looked at (ms): a frozen one may have been replaced without a word. */
const SLOTS_BEAT_MS = 5000

/**
 * Connects to Redis and resolves when commands can be sent. The server itself reports whether it is a node of a Cluster
 * (INFO, one more round trip when connecting); then the connection is to all its nodes. A `redis+sentinel` address
 * leads to whom the sentinels call the primary, at every connect.
 *
 * @throws `PoolError` `CONFIG` for an address that is none; `REDIS_UNAVAILABLE` when nothing answers or
 * the server refuses us. After that the connection reconnects by itself, at most 1 s between tries.
 */
export async function connectRedis(url: string, options: ConnectOptions): Promise<RedisConnection> {
  return connect(url, options, (cluster) =>
    openUp(url, options, (retry) => createCluster(cluster, options, retry)),
  )
}

/**
 * Connects to the server that has a key, as {@link connectRedis} does: on a Cluster to the primary of the key's slot
 * alone, and to its successor when there is one. For keys of one slot, such as a pool's, that is a single server.
 */
export async function connectToShard(url: string, key: string, options: ConnectOptions): Promise<Redis> {
  return connect(url, options, (cluster) => {
    const Connector = shardConnector(cluster, slotOf(key))
    return openUp(url, options, (retry) => createRedis(options, retry, { ...cluster.access, Connector }))
  })
}

/** Connects to the address; where it leads to a Cluster, to that instead. */
async function connect<T extends RedisConnection>(
  url: string,
  options: ConnectOptions,
  toCluster: (cluster: SeenCluster) => Promise<T>,
): Promise<T | Redis> {
  const seen = seenCluster(url)
  try {
    if (seen !== undefined) return await toCluster(seen)
  } catch (error) {
    // Nobody of the Cluster that was there answers. Is another server there now?
    const entry = await connectToServer(url, options).catch(() => undefined)
    const other = entry !== undefined && !(await isNode(entry))
    if (other) {
      forgetCluster(url)
      return entry
    }
    entry?.disconnect()
    throw error
  }
  const entry = await connectToServer(url, options)
  if (!(await isNode(entry))) return entry
  entry.disconnect()
  return toCluster(rememberCluster(url, entry))
}

/** Connects to the one server that an address leads to, and to no other node of its Cluster. @throws as {@link connectRedis}. */
export async function connectToServer(url: string, options: ConnectOptions): Promise<Redis> {
  checkRedisUrl(url)
  return openUp(url, options, (retry) =>
    createRedis(options, retry, isSentinelAddress(url) ? { ...parseSentinelAddress(url) } : url),
  )
}

/** Whether a server is a node of a Cluster; one that does not let us ask is taken for a single one. */
async function isNode(redis: Redis): Promise<boolean> {
  const info = await redis.info('cluster').catch(() => '')
  return /^cluster_enabled:1/m.test(info)
}

/** When to try again; null as long as the connection was never up. */
type Retry = (attempt: number) => number | null

/** Replies keep the form that ioredis gives them by itself; its types want to know. */
type Options = Omit<RedisOptions, 'replyMapping'>

function createRedis(options: ConnectOptions, retry: Retry, to: string | Options): Redis {
  const common: Options = {
    ...ROLE_OPTIONS[options.role],
    lazyConnect: true,
    // ioredis 6 awaits none of the subscriptions that it makes again by itself: a line that breaks once more just then would
    // end the process. Who subscribes does it again.
    autoResubscribe: false,
    maxLoadingRetryTime: LOADING_RETRY_MS,
    // How long a server that says nothing keeps a process from ending that has said good-bye.
    disconnectTimeout: 200,
    connectTimeout: options.connectTimeoutMs ?? 5000,
    retryStrategy: retry,
    sentinelRetryStrategy: retry,
    reconnectOnError: leaveReplaced(),
  }
  const redis = typeof to === 'string' ? new Redis(to, common) : new Redis({ ...to, ...common })
  redis.on('connect', () => cork(redis.stream))
  return redis
}

/** A server that is left because it is not in charge is left again after this time at the earliest (ms). */
const LEAVE_AGAIN_MS = 500

/**
 * Leaves a server that was in charge until a moment ago: the address leads to the new one. Where it leads to the same one
 * again, every command on it would be the reason for another connection.
 */
function leaveReplaced(): (error: Error) => 1 | false {
  let leftAt = -Infinity
  return ({ message }) => {
    if (!/^(READONLY|MOVED|CLUSTERDOWN)\b/.test(message)) return false
    const now = performance.now()
    if (now - leftAt < LEAVE_AGAIN_MS) return false
    leftAt = now
    return 1
  }
}

function createCluster(seen: SeenCluster, options: ConnectOptions, retry: Retry): Cluster {
  const { enableOfflineQueue, ...role } = ROLE_OPTIONS[options.role]
  const cluster = new BoundCluster(seen.nodes, {
    lazyConnect: true,
    ...(enableOfflineQueue === undefined ? {} : { enableOfflineQueue }),
    // A command whose line broke is sent again, unless the role forbids it.
    retryDelayOnFailover: role.autoResendUnfulfilledCommands === false ? 0 : 100,
    clusterRetryStrategy: retry,
    slotsRefreshInterval: SLOTS_BEAT_MS,
    // Names stay names: certificates are theirs.
    dnsLookup: (host, callback) => callback(null, host),
    redisOptions: {
      ...role,
      ...seen.access,
      disconnectTimeout: 200,
      connectTimeout: options.connectTimeoutMs ?? 5000,
      maxLoadingRetryTime: LOADING_RETRY_MS,
      reconnectOnError: (error) => (error.message.startsWith('READONLY') ? 1 : false),
    },
  })
  cluster.on('+node', (node: Redis) => node.on('connect', () => cork(node.stream)))
  cluster.on('refresh', () => {
    noteNodes(
      seen,
      cluster.nodes().map(({ options: { host = '', port = 0 } }) => ({ host, port })),
    )
  })
  // One node of several; commands sent to it report their own errors.
  cluster.on('node error', (error: Error) => options.onError?.(error))
  return cluster
}

/** Opens a connection, in time or not at all. */
async function openUp<T extends RedisConnection>(
  url: string,
  options: ConnectOptions,
  create: (retry: Retry) => T,
): Promise<T> {
  let up = false
  let last: Error | undefined
  const connection = create((attempt) => (up ? Math.min(50 * attempt, 1000) : null))
  connection.on('error', (error: Error) => {
    last = error
    if (up) options.onError?.(error)
  })
  // A server that is frozen takes the connection and says nothing.
  const timeoutMs = options.connectTimeoutMs ?? 5000
  const { promise: late, reject } = Promise.withResolvers<never>()
  const timer = setTimeout(() => {
    last ??= new Error(`no answer within ${timeoutMs} ms`)
    reject(last)
  }, timeoutMs)
  // A Cluster that is not ready ends without a word.
  const onEnd = () => reject(last ?? new Error('the Cluster is not ready'))
  connection.once('end', onEnd)
  try {
    await Promise.race([connection.connect(), late])
    // ioredis goes on in database 0 when there is none of that number.
    const database = databaseOf(url)
    if (database !== '') await connection.select(database)
    up = true
    return connection
  } catch (error) {
    disconnectRedis(connection)
    throw redisUnavailable(url, nodeFault(last) ?? last ?? error)
  } finally {
    clearTimeout(timer)
    connection.off('end', onEnd)
  }
}

/** Why the last node of a Cluster that was asked did not answer. */
function nodeFault(error: Error | undefined): Error | undefined {
  return error !== undefined && 'lastNodeError' in error && error.lastNodeError instanceof Error
    ? error.lastNodeError
    : undefined
}

/** Sends what is written in one turn together: a write of its own for each command costs more than the commands. */
function cork(socket: Redis['stream']): void {
  const write = socket.write.bind(socket)
  let corked = false
  socket.write = ((...args: Parameters<typeof write>) => {
    if (!corked) {
      corked = true
      socket.cork()
      process.nextTick(() => {
        corked = false
        socket.uncork()
      })
    }
    return write(...args)
  }) as typeof write
}

/**
 * Closes a connection at once; every command on it rejects. ioredis 6 forgets its queue when disconnect is called
 * between two tries to reconnect: then no socket is there whose end would flush it, and commands never settle. So it is
 * sent on one more try, which it gives up at once.
 */
export function disconnectRedis(redis: RedisConnection): void {
  if (redis instanceof Redis && redis.status === 'reconnecting') redis.connect().catch(() => undefined)
  redis.disconnect()
}

/**
 * Milliseconds since 1970, by Redis's clock: the one clock all processes of a pool share. A Cluster has several: `key`
 * says by whose, the primary that has that key.
 */
export async function redisTimeMs(redis: RedisConnection, key?: string): Promise<number> {
  return Math.floor((await redisTimeUs(redis, key)) / 1000)
}

/** The same in microseconds. */
export async function redisTimeUs(redis: RedisConnection, key?: string): Promise<number> {
  const node = redis instanceof Cluster && key !== undefined ? primaryOf(redis, key) : undefined
  // ioredis types the reply as numbers but returns strings.
  const [seconds, micros] = (await (node ?? redis).time()) as [number | string, number | string]
  return Number(seconds) * 1_000_000 + Number(micros)
}

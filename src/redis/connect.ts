import { Redis } from 'ioredis'
import type { RedisOptions } from 'ioredis'
import { PoolError } from '../contract/error.ts'

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
 */
export type ConnectionRole = 'commands' | 'writer' | 'blocking' | 'lookup' | 'queue'

type RoleOptions = Pick<
  RedisOptions,
  'maxRetriesPerRequest' | 'enableOfflineQueue' | 'autoResendUnfulfilledCommands' | 'commandTimeout'
>

const ROLE_OPTIONS: Record<ConnectionRole, RoleOptions> = {
  commands: { maxRetriesPerRequest: 1, commandTimeout: 10_000 },
  writer: { maxRetriesPerRequest: 0, enableOfflineQueue: false, autoResendUnfulfilledCommands: false },
  blocking: { maxRetriesPerRequest: 0, autoResendUnfulfilledCommands: false },
  lookup: { maxRetriesPerRequest: 0, autoResendUnfulfilledCommands: false, commandTimeout: 10_000 },
  queue: { maxRetriesPerRequest: null },
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
 * Connects to Redis and resolves when commands can be sent.
 *
 * @throws {@link PoolError} `CONFIG` for an address that is none; `REDIS_UNAVAILABLE` when nothing answers or
 * the server refuses us. After that the connection reconnects by itself, at most 1 s between tries.
 */
export async function connectRedis(url: string, options: ConnectOptions): Promise<Redis> {
  checkRedisUrl(url)
  let up = false
  let last: Error | undefined
  const redis = new Redis(url, {
    ...ROLE_OPTIONS[options.role],
    lazyConnect: true,
    // How long a server that says nothing keeps a process from ending that has said good-bye.
    disconnectTimeout: 200,
    connectTimeout: options.connectTimeoutMs ?? 5000,
    retryStrategy: (attempt) => (up ? Math.min(50 * attempt, 1000) : null),
    // A replica that was the primary until a moment ago: leave it, the address leads to the new one.
    reconnectOnError: (error) => (error.message.startsWith('READONLY') ? 1 : false),
  })
  redis.on('connect', () => cork(redis.stream))
  redis.on('error', (error: Error) => {
    last = error
    if (up) options.onError?.(error)
  })
  // A server that is frozen takes the connection and says nothing.
  const timeoutMs = options.connectTimeoutMs ?? 5000
  const timer = setTimeout(() => {
    last ??= new Error(`no answer within ${timeoutMs} ms`)
    redis.disconnect()
  }, timeoutMs)
  try {
    await redis.connect()
    // ioredis goes on in database 0 when there is none of that number.
    const database = new URL(url).pathname.slice(1)
    if (database !== '') await redis.select(database)
    up = true
    return redis
  } catch (error) {
    redis.disconnect()
    throw redisUnavailable(url, last ?? error)
  } finally {
    clearTimeout(timer)
  }
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
 * Closes a connection at once; every command on it rejects. ioredis 6 forgets its queue when it is told to disconnect
 * between two tries to reconnect: then no socket is there whose end would flush it, and commands never settle. So it is
 * sent on one more try, which it gives up at once.
 */
export function disconnectRedis(redis: Redis): void {
  if (redis.status === 'reconnecting') redis.connect().catch(() => undefined)
  redis.disconnect()
}

/** Address without its credentials, for messages. */
export function redactUrl(url: string): string {
  try {
    const parsed = new URL(url)
    parsed.username = ''
    parsed.password = ''
    parsed.search = ''
    parsed.hash = ''
    return parsed.href
  } catch {
    return 'an address that cannot be read'
  }
}

function checkRedisUrl(url: string): void {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  const known = parsed !== undefined && (parsed.protocol === 'redis:' || parsed.protocol === 'rediss:')
  if (known && !url.includes('#') && /^\/?\d*$/.test(parsed.pathname)) return
  // What was given may be a password in the wrong place: it is not repeated.
  const hint = url.includes('#') ? '; a # in a password is written %23' : ''
  throw new PoolError(
    'CONFIG',
    `Redis address: expected redis://[user:password@]host:port[/database] or rediss://…, got something else${hint}`,
  )
}

/** An error of the driver by its message alone: what hangs on it are the command's arguments, password and prompt too. */
export function bareCause(error: unknown): Error {
  return new Error(error instanceof Error ? error.message : String(error))
}

function redisUnavailable(url: string, fault: unknown): PoolError {
  const cause = bareCause(fault)
  const text = cause.message
  const where = redactUrl(url)
  if (/^(WRONGPASS|NOAUTH|NOPERM)|invalid password/i.test(text)) {
    return new PoolError(
      'REDIS_UNAVAILABLE',
      `Redis at ${where} refuses the user or password (${text.split(' ')[0]})`,
      {
        cause,
      },
    )
  }
  // Node's own words for what is wrong with it (tls, X.509 error codes).
  if (/certificate|altnames/i.test(text)) {
    return new PoolError('REDIS_UNAVAILABLE', `the certificate of Redis at ${where} is not right: ${text}`, {
      cause,
    })
  }
  return new PoolError('REDIS_UNAVAILABLE', `Redis at ${where} does not answer: ${text}`, { cause })
}

/** Whether an error is about the line to Redis and not about the command. */
export function isConnectionError(error: unknown): boolean {
  if (!(error instanceof Error)) return false
  if (error.name === 'MaxRetriesPerRequestError') return true
  return /Connection is closed|Command timed out|isn't writeable|ECONNREFUSED|ECONNRESET|EPIPE|ETIMEDOUT|ENOTFOUND|EAI_AGAIN|Command aborted due to connection close/.test(
    error.message,
  )
}

/**
 * Whether Redis answered, and answered that it cannot now: it loads its file, is out of memory or a replica of another
 * server, or a failover is under way. The same command may work in a moment.
 */
export function isRefusal(error: unknown): boolean {
  const codes = /^(OOM|READONLY|LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|MISCONF|NOREPLICAS|BUSY|UNBLOCKED)\b/
  return error instanceof Error && codes.test(error.message)
}

/** Whether the user of the connection may not do this: by itself, or inside a script. It will not get better. */
export function isForbidden(error: unknown): boolean {
  return (
    error instanceof Error &&
    /NOPERM|ACL failure in script|user executing the script can't/.test(error.message)
  )
}

/** Milliseconds since 1970, by Redis's clock: the one clock all processes of a pool share. */
export async function redisTimeMs(redis: Redis): Promise<number> {
  return timeReplyToMs(await redis.time())
}

/** Reads the answer of TIME (seconds, microseconds). */
export function timeReplyToMs(reply: unknown): number {
  const [seconds, micros] = reply as [number | string, number | string]
  return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000)
}

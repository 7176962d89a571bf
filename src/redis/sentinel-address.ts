import type { RedisOptions } from 'ioredis'

/** Who is asked where Redis is, and under which name. */
type SentinelOptions = Pick<
  RedisOptions,
  | 'sentinels'
  | 'name'
  | 'db'
  | 'username'
  | 'password'
  | 'sentinelUsername'
  | 'sentinelPassword'
  | 'tls'
  | 'sentinelTLS'
  | 'enableTLSForSentinelMode'
>

const ADDRESS =
  /^redis(?<secure>s?)\+sentinel:\/\/(?:(?<user>[^:@/]*)(?::(?<password>[^@/]*))?@)?(?<hosts>[^@/?]+)\/(?<name>[^/?]+)(?:\/(?<database>\d*))?(?:\?(?<query>.*))?$/

const HOST = /^(?:\[(?<v6>[\da-f:.]+)\]|(?<host>[^:[\]]+))(?::(?<port>\d{1,5}))?$/i

/** The port of a sentinel unless it is said. */
const SENTINEL_PORT = 26379

/** Whether an address names sentinels; it may still be none that can be read. */
export function isSentinelAddress(url: string): boolean {
  return /^rediss?\+sentinel:/.test(url)
}

/**
 * Reads `redis+sentinel://[user:password@]host[:port][,host[:port]…]/<name>[/<database>]`, the form of most clients;
 * `rediss+sentinel` for TLS to sentinels and servers alike. User and password are the servers'; sentinels that want
 * some, too, have theirs in the query: `?sentinel_username=…&sentinel_password=…`. Undefined when it cannot be read.
 */
export function parseSentinelAddress(url: string): SentinelOptions | undefined {
  const parts = ADDRESS.exec(url)?.groups
  if (parts === undefined) return undefined
  const sentinels = (parts['hosts'] ?? '').split(',').map(parseHost)
  const query = new URLSearchParams(parts['query'])
  const known = [...query.keys()].every(
    (name) => name === 'sentinel_username' || name === 'sentinel_password',
  )
  try {
    const name = text(parts['name'])
    if (!known || name === undefined || sentinels.includes(undefined)) return undefined
    const options = {
      sentinels: sentinels.filter((sentinel) => sentinel !== undefined),
      name,
      username: text(parts['user']),
      password: text(parts['password']),
      sentinelUsername: query.get('sentinel_username') ?? undefined,
      sentinelPassword: query.get('sentinel_password') ?? undefined,
      db: parts['database'] ? Number(parts['database']) : 0,
    }
    return parts['secure'] === ''
      ? options
      : { ...options, tls: {}, sentinelTLS: {}, enableTLSForSentinelMode: true }
  } catch {
    // A % that is no escape.
    return undefined
  }
}

/** A part of an address without its escapes; undefined when it is empty. */
function text(part: string | undefined): string | undefined {
  return part ? decodeURIComponent(part) : undefined
}

function parseHost(where: string): { host: string; port: number } | undefined {
  const parts = HOST.exec(where)?.groups
  const host = parts?.['v6'] ?? parts?.['host']
  const port = Number(parts?.['port'] ?? SENTINEL_PORT)
  return host === undefined || port > 65_535 ? undefined : { host, port }
}

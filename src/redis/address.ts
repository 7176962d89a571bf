import { PoolError } from '../contract/error.ts'
import { isSentinelAddress, parseSentinelAddress } from './sentinel-address.ts'

/** Where Redis is if no address is given. */
export const DEFAULT_REDIS_URL = 'redis://127.0.0.1:6379'

/** Address without its credentials, for messages. */
export function redactUrl(url: string): string {
  if (isSentinelAddress(url)) {
    return parseSentinelAddress(url) === undefined ? UNREADABLE : url.replace(/\/\/[^/]*@|\?.*$/g, drop)
  }
  try {
    const parsed = new URL(url)
    parsed.username = ''
    parsed.password = ''
    parsed.search = ''
    parsed.hash = ''
    return parsed.href
  } catch {
    return UNREADABLE
  }
}

const UNREADABLE = 'an address that cannot be read'

function drop(part: string): string {
  return part.startsWith('//') ? '//' : ''
}

/** @throws {@link PoolError} `CONFIG` for an address that is none; it says nothing of what was given. */
export function checkRedisUrl(url: string): void {
  if (isSentinelAddress(url)) {
    if (parseSentinelAddress(url) !== undefined) return
    throw new PoolError(
      'CONFIG',
      'Redis address: expected redis+sentinel://[user:password@]host:port[,host:port…]/<name>[/<database>], got something else',
    )
  }
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  const known = parsed !== undefined && (parsed.protocol === 'redis:' || parsed.protocol === 'rediss:')
  if (known && !url.includes('#') && /^\/?\d*$/.test(parsed.pathname)) return
  // What was given may be a password in the wrong place: it is not repeated.
  const hint = url.includes('#') ? '; a # in a password is written %23' : ''
  throw new PoolError(
    'CONFIG',
    `Redis address: expected redis://[user:password@]host:port[/database], rediss://… or redis+sentinel://…, got something else${hint}`,
  )
}

/** The number of the database that an address names; empty when it names none. */
export function databaseOf(url: string): string {
  const sentinel = parseSentinelAddress(url)
  if (sentinel !== undefined) return sentinel.db ? String(sentinel.db) : ''
  return new URL(url).pathname.slice(1)
}

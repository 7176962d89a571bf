import { PoolError } from '../contract/error.ts'
import { isLoopback } from '../runtime/loopback.ts'

/** Where a TGI server is, taken apart once. */
export interface TgiAddress {
  /** Scheme, host and port. */
  readonly origin: string
  /** The path in front of every route, without a slash at its end; mostly empty. */
  readonly prefix: string
  /** Origin and prefix, without credentials: for logs and messages. */
  readonly label: string
  /** The `authorization` header, if the server wants one. */
  readonly authorization: string | undefined
  /** What must never be seen in a message. */
  readonly secrets: readonly string[]
}

/** What undici lets through as a header's value. */
const HEADER_SAFE = /^[\t\x20-\x7e\x80-\xff]+$/

/**
 * Takes an address and a key apart. Credentials inside the address become a Basic header, unless there is a key:
 * TGI itself knows only `Bearer <key>` (router/src/server.rs, TGI 3.3.7), a proxy in front of it may want the other.
 * Throws `CONFIG` for an address that is not http or https and for a key that no header can carry.
 */
export function parseAddress(url: string, apiKey: string | undefined): TgiAddress {
  const parsed = URL.parse(url)
  if (parsed === null || !/^https?:$/.test(parsed.protocol)) {
    // An address that cannot be parsed is not repeated: it may hold credentials in a place we cannot find.
    const got = parsed === null ? 'something else' : `the scheme ${parsed.protocol}`
    throw new PoolError('CONFIG', `address of a TGI server: expected an http or https URL, got ${got}`)
  }
  if (apiKey !== undefined && !HEADER_SAFE.test(apiKey)) {
    throw new PoolError(
      'CONFIG',
      `API key for ${parsed.origin}: expected characters that fit a header, got ${apiKey === '' ? 'none' : 'others'}`,
    )
  }
  const prefix = parsed.pathname.replace(/\/+$/, '')
  const basic = basicCredentials(parsed)
  const key = apiKey === undefined ? undefined : `Bearer ${apiKey}`
  return {
    origin: parsed.origin,
    prefix,
    label: parsed.origin + prefix,
    authorization: key ?? (basic === undefined ? undefined : `Basic ${basic.encoded}`),
    secrets: [apiKey, basic?.encoded, basic?.password].filter((secret) => secret !== undefined),
  }
}

function basicCredentials(url: URL): { readonly encoded: string; readonly password: string } | undefined {
  if (url.username === '' && url.password === '') return undefined
  const password = decode(url.password)
  return { encoded: Buffer.from(`${decode(url.username)}:${password}`).toString('base64'), password }
}

function decode(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    return part
  }
}

/** Host, port and path, spelled alike for all spellings of one address. */
export function addressKey(url: string): string {
  if (!URL.canParse(url)) return url
  const { protocol, hostname, port, pathname } = new URL(url)
  const host = isLoopback(hostname) ? 'localhost' : hostname
  const number = port === '' ? (protocol === 'https:' ? '443' : '80') : port
  return `${host}:${number}${pathname.replace(/\/+$/, '')}`
}

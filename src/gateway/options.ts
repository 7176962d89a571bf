import { PoolError } from '../contract/error.ts'
import type { Logger } from '../runtime/log.ts'
import { isLoopback } from '../runtime/loopback.ts'

/** Options of a gateway. */
export interface GatewayOptions {
  readonly redisUrl: string
  /** Prefix of all Redis keys. @defaultValue `tgi-pool` */
  readonly prefix?: string | undefined
  /** Any address but loopback requires `bearerFile`. @defaultValue `127.0.0.1` */
  readonly host?: string | undefined
  /** 0 picks a free one. */
  readonly port: number
  /** A file of bearer keys (http/key-lines.ts), one per line. Without it, anyone who can reach the port may do everything. */
  readonly bearerFile?: string | undefined
  /** Origins whose pages may call, `scheme://host[:port]`; no wildcards. @defaultValue none */
  readonly corsOrigins?: readonly string[] | undefined
  readonly logger: Logger
  /** Silence after which a comment goes out on an event stream (ms). @defaultValue 15000 */
  readonly heartbeatMs?: number | undefined
  /** How long a client may not read its events before it is disconnected (ms). @defaultValue 30000 */
  readonly stallMs?: number | undefined
  /** Event streams, and requests that wait for a job's end, open at once. @defaultValue 10000 */
  readonly maxStreams?: number | undefined
  /**
   * The same per caller: the bearer keys of one name or, without keys, one client address. @defaultValue half of `maxStreams`; without
   * keys all of them, because a local proxy sends all requests from one address
   */
  readonly maxStreamsPerCaller?: number | undefined
  /** The largest body (bytes): a job of 2 MB passes. @defaultValue 2621440 */
  readonly maxBodyBytes?: number | undefined
  /** How long Redis may take for one call (ms). @defaultValue 3000 */
  readonly redisTimeoutMs?: number | undefined
}

/** Default settings. */
export const GATEWAY_DEFAULTS = {
  host: '127.0.0.1',
  port: 8700,
  graceMs: 10_000,
  heartbeatMs: 15_000,
  stallMs: 30_000,
  maxStreams: 10_000,
  maxBodyBytes: 2.5 * 1024 * 1024,
  redisTimeoutMs: 3000,
} as const

/** Options with every default filled in. */
export interface GatewaySettings extends GatewayOptions {
  readonly host: string
  readonly heartbeatMs: number
  readonly stallMs: number
  readonly maxStreams: number
  readonly maxStreamsPerCaller: number
  readonly maxBodyBytes: number
  readonly redisTimeoutMs: number
}

/**
 * Fills in defaults and checks the combination.
 *
 * @throws {@link PoolError} `CONFIG` for an invalid origin, or for a non-loopback address without keys.
 */
export function settle(options: GatewayOptions): GatewaySettings {
  const maxStreams = options.maxStreams ?? GATEWAY_DEFAULTS.maxStreams
  const settings: GatewaySettings = {
    ...options,
    corsOrigins: options.corsOrigins?.map(browserOrigin),
    host: options.host ?? GATEWAY_DEFAULTS.host,
    heartbeatMs: options.heartbeatMs ?? GATEWAY_DEFAULTS.heartbeatMs,
    stallMs: options.stallMs ?? GATEWAY_DEFAULTS.stallMs,
    maxStreams,
    maxStreamsPerCaller:
      options.maxStreamsPerCaller ??
      (options.bearerFile === undefined ? maxStreams : Math.ceil(maxStreams / 2)),
    maxBodyBytes: options.maxBodyBytes ?? GATEWAY_DEFAULTS.maxBodyBytes,
    redisTimeoutMs: options.redisTimeoutMs ?? GATEWAY_DEFAULTS.redisTimeoutMs,
  }
  if (!isLoopback(settings.host) && settings.bearerFile === undefined) {
    throw new PoolError(
      'CONFIG',
      `gateway: ${settings.host} is reachable from other machines: expected a file of bearer keys (TGI_POOL_BEARER_FILE or --bearer-file), got none`,
    )
  }
  return settings
}

/** An origin as browsers send it: host in lower case and ASCII, no port that the scheme implies. */
function browserOrigin(origin: string): string {
  const parsed = /^https?:\/\/[^\s/?#@\\]+$/i.test(origin) ? URL.parse(origin) : null
  // No page's host contains anything else, such as a wildcard or a pattern.
  const can =
    parsed !== null && /^(?:\[[0-9a-f:.]+\]|[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?)$/.test(parsed.hostname)
  if (can) return parsed.origin
  const wildcard = origin.includes('*') ? '; name each origin, there are no wildcards' : ''
  throw new PoolError(
    'CONFIG',
    `gateway: CORS origins: expected scheme://host[:port] as browsers send it, without a path or a slash at the end, e.g. https://example.org, got ${JSON.stringify(origin.slice(0, 100))}${wildcard}`,
  )
}

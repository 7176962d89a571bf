import { DEFAULT_PREFIX } from '../contract/keys.ts'
import type { Logger } from '../runtime/log.ts'

/** Options of a metrics process. */
export interface MetricsOptions {
  readonly redisUrl: string
  readonly prefix?: string | undefined
  /** One that is not loopback needs `bearerFile`. @defaultValue `127.0.0.1` */
  readonly host?: string | undefined
  /** 0 takes any free one. */
  readonly port: number
  /** File of the scrapers' bearer keys, one a line. Without it, anyone who can reach the port can read the metrics. */
  readonly bearerFile?: string | undefined
  /** Sent as a Bearer key to the replicas of `apiKeyFor`. */
  readonly apiKey?: string | undefined
  /** Addresses that may have the key. @defaultValue none: what stands in Redis is not trusted with it */
  readonly apiKeyFor?: readonly string[] | undefined
  /** How long each replica may take to answer a scrape (ms). @defaultValue 3000 */
  readonly replicaTimeoutMs?: number | undefined
  /** An answer that is younger is given again (ms). @defaultValue 1000 */
  readonly cacheMs?: number | undefined
  readonly logger: Logger
}

/** A metrics process's default address and times. */
export const METRICS_DEFAULTS = {
  prefix: DEFAULT_PREFIX,
  host: '127.0.0.1',
  port: 9464,
  replicaTimeoutMs: 3000,
  cacheMs: 1000,
} as const

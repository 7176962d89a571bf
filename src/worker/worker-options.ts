import { createHash } from 'node:crypto'
import { replicaIdSchema } from '../contract/ids.ts'
import type { Logger } from '../runtime/log.ts'
import { DEFAULT_PREFIX } from '../contract/keys.ts'

/** Options of a worker. */
export interface WorkerOptions {
  readonly redisUrl: string
  readonly pool: string
  /** The replica's address, e.g. `http://127.0.0.1:8080`. */
  readonly replicaUrl: string
  /** @defaultValue host and port of the address, e.g. `127.0.0.1-8080`, and a hash where that is not all of it */
  readonly replicaId?: string | undefined
  /** Sent to the replica as a Bearer token. */
  readonly apiKey?: string | undefined
  /** The most requests it may hold open; never more than the replica's own `max_concurrent_requests`. */
  readonly slots?: number | undefined
  readonly prefix?: string | undefined
  /** How long BullMQ's lock on a job lasts unrenewed (ms). */
  readonly lockMs?: number | undefined
  /** How often jobs of dead workers are looked for (ms). */
  readonly stalledIntervalMs?: number | undefined
  /** How long the lease on the replica lasts unrenewed (ms). */
  readonly leaseMs?: number | undefined
  /** How often the replica is probed (ms). */
  readonly probeMs?: number | undefined
  /** How long running attempts may take to finish when it stops or drains (ms). */
  readonly graceMs?: number | undefined
  readonly logger: Logger
}

/** A worker's default times and counts. */
export const WORKER_DEFAULTS = {
  slots: 8,
  prefix: DEFAULT_PREFIX,
  lockMs: 5000,
  stalledIntervalMs: 1500,
  leaseMs: 5000,
  probeMs: 1000,
  graceMs: 20_000,
} as const

/** A worker's options with the defaults filled in. */
export interface WorkerSettings {
  readonly slots: number
  readonly prefix: string
  readonly lockMs: number
  readonly stalledIntervalMs: number
  readonly leaseMs: number
  readonly probeMs: number
  readonly graceMs: number
  readonly logger: Logger
}

/** Fills in the defaults. */
export function settingsOf(options: WorkerOptions): WorkerSettings {
  return {
    slots: options.slots ?? WORKER_DEFAULTS.slots,
    prefix: options.prefix ?? WORKER_DEFAULTS.prefix,
    lockMs: options.lockMs ?? WORKER_DEFAULTS.lockMs,
    stalledIntervalMs: options.stalledIntervalMs ?? WORKER_DEFAULTS.stalledIntervalMs,
    leaseMs: options.leaseMs ?? WORKER_DEFAULTS.leaseMs,
    probeMs: options.probeMs ?? WORKER_DEFAULTS.probeMs,
    graceMs: options.graceMs ?? WORKER_DEFAULTS.graceMs,
    logger: options.logger,
  }
}

/**
 * Names a replica after its address: `<host>-<port>` if that is a valid replica id. If something is lost (a path, a character that
 * ids do not allow, excess length), a hash of the whole address follows, so that no two addresses share a name.
 */
export function replicaIdOf(url: string): string {
  const { hostname, port, protocol, pathname } = new URL(url)
  const number = port === '' ? (protocol === 'https:' ? '443' : '80') : port
  const whole = `${hostname}-${number}${pathname.replace(/\/+$/, '')}`
  if (replicaIdSchema.safeParse(whole).success) return whole
  // A simple id has digits after its last -, a hash starts with x.
  const hash = `-x${createHash('sha256').update(whole).digest('hex').slice(0, 10)}`
  const readable = whole
    .toLowerCase()
    .replaceAll(/[^a-z0-9.]+/g, '-')
    .replace(/^[.-]+|-+$/g, '')
  return `${readable.slice(0, 63 - hash.length)}${hash}`
}

import type { IncomingMessage } from 'node:http'
import { PoolError } from '../contract/error.ts'
import { requireKey } from '../http/authorize.ts'
import type { BearerKeys } from '../http/bearer-keys.ts'
import { isProbe } from '../http/health.ts'
import { requireLoopbackHost } from '../http/host.ts'
import type { Caller } from './caller.ts'
import type { Cors } from './cors.ts'

/** What a gateway holds requests against. */
export interface GuardOptions {
  /** Undefined: every user of this machine may call. */
  readonly keys: BearerKeys | undefined
  readonly cors: Cors
  /** Routes that need no key. */
  readonly open: ReadonlySet<string>
}

const READING = new Set(['GET', 'HEAD', 'OPTIONS'])

/**
 * Lets a request in, or not:
 *
 * - Without keys, trust is in the address alone, and `Host` must be loopback. Probes say nothing and take any.
 * - A page that is not trusted may send what changes something before any preflight. Browsers name it in `Origin`.
 * - With keys, one must be in `Authorization`; a preflight has none by its nature.
 *
 * @returns who calls; undefined where that does not matter.
 * @throws {@link PoolError} `FORBIDDEN`, `UNAUTHORIZED`.
 */
export function admit(incoming: IncomingMessage, route: string, options: GuardOptions): Caller | undefined {
  const { method = '', socket } = incoming
  const probe = READING.has(method) && isProbe(route)
  if (options.keys === undefined && !probe) requireLoopbackHost(incoming)
  if (!READING.has(method) && !options.cors.trusts(incoming)) {
    throw new PoolError('FORBIDDEN', 'Origin: pages of this origin may not call; see TGI_POOL_CORS_ORIGINS')
  }
  if (method === 'OPTIONS' || options.open.has(route)) return undefined
  if (options.keys !== undefined) return requireKey(incoming, options.keys)
  const address = socket.remoteAddress ?? 'unknown'
  return { id: address, name: address, may: () => true }
}

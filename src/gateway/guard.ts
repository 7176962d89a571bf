import type { IncomingMessage } from 'node:http'
import { PoolError } from '../contract/error.ts'
import { requireKey } from '../http/authorize.ts'
import type { BearerKeys } from '../http/bearer-keys.ts'
import { isProbe } from '../http/health.ts'
import { requireLoopbackHost } from '../http/host.ts'
import type { Caller } from './caller.ts'
import type { Cors } from './cors.ts'

/** What a gateway checks requests against. */
export interface GuardOptions {
  /** Undefined: anyone on this machine may call. */
  readonly keys: BearerKeys | undefined
  readonly cors: Cors
  /** Routes that need no key. */
  readonly open: ReadonlySet<string>
}

const READING = new Set(['GET', 'HEAD', 'OPTIONS'])

/**
 * Authorizes a request:
 *
 * - Without keys, only the address protects the gateway, so `Host` must be loopback. Probes reveal nothing and accept any.
 * - An untrusted page can send state-changing requests without a preflight, so `Origin` is checked.
 * - With keys, `Authorization` must have one, except in a preflight, which never has it.
 *
 * @returns the caller; undefined if that does not matter.
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

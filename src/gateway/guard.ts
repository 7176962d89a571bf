import type { IncomingMessage } from 'node:http'
import { PoolError } from '../contract/error.ts'
import type { BearerKeys } from './bearer-keys.ts'
import type { Cors } from './cors.ts'
import { isLoopback } from '../runtime/loopback.ts'

/** What a gateway holds requests against. */
export interface GuardOptions {
  /** Undefined: whoever is on this machine may call. */
  readonly keys: BearerKeys | undefined
  readonly cors: Cors
  /** Routes that need no key. */
  readonly open: ReadonlySet<string>
}

const READING = new Set(['GET', 'HEAD', 'OPTIONS'])
/** Routes that reveal only whether the process works; balancers call them under any host name. */
const PROBES = new Set(['/livez', '/readyz'])

/**
 * Lets a request in, or not:
 *
 * - Without keys, trust is in the address alone. A web page may reach it under a name of its own that it lets point
 *   here (DNS rebinding), but then `Host` has that name: it must be loopback. Probes say nothing and take any.
 * - A page that is not trusted may send what changes something before any preflight. Browsers name it in `Origin`.
 * - With keys, one must be in `Authorization`; a preflight has none by its nature.
 *
 * @returns the name of the request's key, if it needed one.
 * @throws {@link PoolError} `FORBIDDEN`, `UNAUTHORIZED`.
 */
export function admit(incoming: IncomingMessage, route: string, options: GuardOptions): string | undefined {
  const { headers, method = '' } = incoming
  const probe = READING.has(method) && PROBES.has(route)
  if (options.keys === undefined && !probe && !isLoopback(hostnameOf(headers.host))) {
    throw new PoolError(
      'FORBIDDEN',
      'Host: without bearer keys this gateway serves loopback only, expected localhost, 127.0.0.1 or [::1]',
    )
  }
  if (!READING.has(method) && !options.cors.trusts(incoming)) {
    throw new PoolError('FORBIDDEN', 'Origin: pages of this origin may not call; see TGI_POOL_CORS_ORIGINS')
  }
  if (options.keys === undefined || method === 'OPTIONS' || options.open.has(route)) return undefined
  const key = options.keys.nameOf(headers.authorization)
  if (key !== undefined) return key
  throw new PoolError(
    'UNAUTHORIZED',
    `Authorization: expected Bearer and a key of this gateway, got ${headers.authorization === undefined ? 'nothing' : 'another'}`,
  )
}

/** The name without its port. */
function hostnameOf(host: string | undefined): string {
  return (host ?? '').replace(/:\d*$/, '')
}

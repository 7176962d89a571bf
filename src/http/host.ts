import type { IncomingMessage } from 'node:http'
import { PoolError } from '../contract/error.ts'
import { isLoopback } from '../runtime/loopback.ts'

/** Names, IPv4 and IPv6 addresses, with or without a port; an empty one is allowed (RFC 9112, section 3.2). */
const HOST = /^(?:\[[\da-f:.]+\]|[\w.~-]*)(?::\d+)?$/i

/**
 * Finds what is wrong with the Host of a request (RFC 9112, section 3.2): there must be exactly one, and it must be valid. Servers and
 * proxies disagree about anything else, so whom such a request is meant for is anyone's guess.
 *
 * @param optional whether an HTTP/1.1 request may have none. HTTP/1.0 knows no Host.
 */
export function findHostFault(incoming: IncomingMessage, optional: boolean): PoolError | undefined {
  const { rawHeaders, httpVersion } = incoming
  let count = 0
  for (let at = 0; at < rawHeaders.length; at += 2) {
    if (rawHeaders[at]?.toLowerCase() === 'host') count += 1
  }
  const host = incoming.headers.host ?? ''
  if (count > 1) return hostFault(`expected one, got ${count}`)
  if (count === 0 && httpVersion !== '1.0' && !optional) return hostFault('expected one, got none')
  const valid = HOST.test(host) && (host === '' || URL.canParse(`http://${host}`))
  return valid
    ? undefined
    : hostFault('expected a name or an address, and a port if any, got other characters')
}

function hostFault(what: string): PoolError {
  return new PoolError('INVALID_PARAMS', `Host: ${what}`)
}

/**
 * Refuses a request that reached a server on loopback under another name. A web page may point a name of its own at this machine (DNS
 * rebinding); its requests then have that name in `Host`.
 *
 * @throws {@link PoolError} `FORBIDDEN`.
 */
export function requireLoopbackHost({ headers: { host = '' } }: IncomingMessage): void {
  if (isLoopback(host.replace(/:\d+$/, ''))) return
  throw new PoolError(
    'FORBIDDEN',
    'Host: without bearer keys this server serves loopback only, expected localhost, 127.0.0.1 or [::1]',
  )
}

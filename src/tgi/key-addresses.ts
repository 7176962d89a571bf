import { parseAddress } from './address.ts'

/** The API key for an address; undefined for one that may not have it. */
export type KeyFor = (url: string) => string | undefined

/**
 * Gives an API key only to the addresses that the process was given. For processes that read addresses from Redis: anyone who writes
 * there could name any server and collect the key.
 *
 * Scheme, host, port and path must be equal; host names are not resolved.
 *
 * @throws {@link PoolError} `CONFIG` for an address that is none.
 */
export function createKeyFor(apiKey: string | undefined, addresses: readonly string[]): KeyFor {
  const allowed = new Set(addresses.map((address) => parseAddress(address, apiKey).label))
  return (url) => {
    const label = labelOf(url)
    return label !== undefined && allowed.has(label) ? apiKey : undefined
  }
}

function labelOf(url: string): string | undefined {
  const scheme = URL.parse(url)?.protocol
  return scheme === 'http:' || scheme === 'https:' ? parseAddress(url, undefined).label : undefined
}

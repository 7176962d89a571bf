import type { IncomingMessage, ServerResponse } from 'node:http'

/** Which web pages may call. */
export interface Cors {
  /** Lets a trusted page read the answer. */
  mark(incoming: IncomingMessage, outgoing: ServerResponse): void
  /** Whether the request comes from no page, from one of this origin, or from a trusted one. */
  trusts(incoming: IncomingMessage): boolean
}

/** What pages may send beyond what every page may. */
const ALLOWED_HEADERS =
  'Authorization, Content-Type, Idempotency-Key, Last-Event-ID, Prefer, X-Correlation-Id'
const EXPOSED_HEADERS = 'Location, Preference-Applied, Retry-After, X-Correlation-Id, X-Job-Id'

/** CORS (WHATWG Fetch, section 3.3) for exact origins; credentials of the browser's own are never asked for. */
export function createCors(origins: readonly string[]): Cors {
  const trusted = new Set(origins)
  return {
    mark(incoming, outgoing) {
      if (trusted.size === 0) return
      outgoing.setHeader('Vary', 'Origin')
      const { origin } = incoming.headers
      if (origin === undefined || !trusted.has(origin)) return
      outgoing.setHeader('Access-Control-Allow-Origin', origin)
      outgoing.setHeader('Access-Control-Expose-Headers', EXPOSED_HEADERS)
    },
    trusts({ headers: { origin, host } }) {
      if (origin === undefined || trusted.has(origin)) return true
      return host !== undefined && URL.canParse(origin) && new URL(origin).host === host.toLowerCase()
    },
  }
}

/** The headers of the answer to a preflight. */
export function preflightHeaders(methods: string): Record<string, string> {
  return {
    'Access-Control-Allow-Methods': methods,
    'Access-Control-Allow-Headers': ALLOWED_HEADERS,
    'Access-Control-Max-Age': '600',
  }
}

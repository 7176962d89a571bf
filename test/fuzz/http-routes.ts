import type { Random } from '../chaos/random.ts'
import { ask } from './request.ts'
import { POOL } from './shot.ts'
import type { DrawContext, Shot } from './shot.ts'
import { fill } from './text.ts'

/** Methods that routes take, and others. */
export const METHODS = [
  'GET',
  'HEAD',
  'POST',
  'PUT',
  'PATCH',
  'DELETE',
  'OPTIONS',
  'TRACE',
  'QUERY',
  'PROPFIND',
  'M-SEARCH',
] as const

/** Names that no job has, as parts of a path. */
export const ODD_NAMES = [
  '',
  '0',
  '-1',
  '..',
  '.',
  '%00',
  '%2e%2e%2f',
  '%ff',
  '%',
  '__proto__',
  'constructor',
  'meta',
  'wait',
  'events',
  'a:b',
  '{fuzz}',
  'a%20b',
  '%F0%9F%A6%99',
  'x'.repeat(128),
  'x'.repeat(129),
  'x'.repeat(4000),
  '*',
  '$',
] as const

/** Event ids, and texts that nearly are. */
export const CURSORS = [
  '',
  '0',
  '0-0',
  '0-1',
  '1-1',
  '-',
  '+',
  '$',
  '*',
  '5-',
  '-5',
  '1-2-3',
  '9007199254740991-1',
  '9007199254740991-2',
  '18446744073709551615-18446744073709551615',
  '18446744073709551616-0',
  '1763812345678901-2',
  '99999999999999999999999999-1',
  '1e3-1',
  ' 0-1 ',
  '0x1-1',
  'null',
  '1-1,2-2',
] as const

/** Any path, with any query. */
export function drawPath(random: Random, { knownId }: DrawContext): string {
  const id = random.weighted({ known: 4, odd: 4, fresh: 1 })
  const odd = id === 'odd' ? random.pick(ODD_NAMES) : `none-${random.between(0, 1e9)}`
  const name = id === 'known' ? knownId : odd
  const path = random.pick([
    '/v1/jobs',
    `/v1/jobs/${name}`,
    `/v1/jobs/${name}/events`,
    `/v1/jobs/${name}/cancel`,
    '/v1/pools',
    `/v1/pools/${name}/replicas`,
    '/livez',
    '/readyz',
    '/openapi.json',
    '/docs',
    '/',
    `//${name}`,
    `/v1/jobs/${name}/`,
    `/v1/jobs/${name}/events/${name}`,
    '/v1//jobs',
    '/V1/JOBS',
    '/v1/jobs;a=b',
    `/v1/jobs%2f${name}`,
    `/${'a/'.repeat(random.between(1, 4000))}`,
  ])
  return path + drawQuery(random)
}

/** A query, or none. */
export function drawQuery(random: Random): string {
  const kind = random.weighted({ none: 4, pool: 3, odd: 2, many: 2, after: 2 })
  switch (kind) {
    case 'none':
      return ''
    case 'pool':
      return `?pool=${random.pick([POOL, ...ODD_NAMES])}`
    case 'odd':
      return random.pick([
        '?',
        '?&&&',
        '?pool',
        '?pool=a&pool=b',
        '?pool[]=a',
        '?=x',
        '?%',
        '?pool=%zz',
        '??',
      ])
    case 'many': {
      const unit = random.pick(['a&', 'pool=a&', 'after=0-1&', '%41&', '+=+&', 'a[b]=1&'])
      return fill(random.between(100, 14_000), unit, { head: '?' })
    }
    case 'after':
      return `?after=${encodeURIComponent(random.pick(CURSORS))}`
  }
}

/** A request to any route with any method, without a body. */
export function drawRoute(random: Random, context: DrawContext): Shot {
  const method = random.chance(0.6) ? 'GET' : random.pick(METHODS)
  // The known job is for others to read.
  const knownId = method === 'DELETE' ? 'nobody' : context.knownId
  const conversation = ask(context, { method, path: drawPath(random, { ...context, knownId }) })
  return { kind: 'http', conversations: [{ ...conversation, leaveAfterMs: 3000 }] }
}

import type { Random } from '../chaos/random.ts'
import { drawPath } from './http-routes.ts'
import { formatRequest } from './request.ts'
import type { RequestParts } from './request.ts'
import { MARK, POOL } from './shot.ts'
import type { DrawContext, Shot } from './shot.ts'

/** Requests of each kind on one connection at most. */
const MOST = {
  probe: 5000,
  state: 1500,
  unknown: 3000,
  events: 1500,
  pools: 300,
  openapi: 50,
  enqueue: 100,
  wrong: 3000,
  mixed: 500,
} as const

type Kind = keyof typeof MOST

const KINDS = Object.keys(MOST) as readonly Kind[]

/** Many requests in one write. */
export function drawPipeline(random: Random, context: DrawContext): Shot {
  const kind = random.pick(KINDS)
  const count = random.between(2, random.chance(0.5) ? 50 : MOST[kind])
  const requests = Array.from({ length: count }, () => drawRequest(random, context, kind))
  const pieces = [Buffer.concat(requests.flatMap((parts) => formatRequest(context, parts)))]
  // A bound on what one connection may have open may end it early.
  const ending = random.pick(['read', 'read', 'abort'] as const)
  return {
    kind: 'http',
    mayOverload: true,
    conversations: [{ pieces, expects: 'any', ending, leaveAfterMs: 5000 }],
  }
}

function drawRequest(random: Random, context: DrawContext, kind: Kind): RequestParts {
  const { knownId } = context
  switch (kind) {
    case 'probe':
      return { path: '/livez' }
    case 'state':
      return { path: `/v1/jobs/${knownId}?pool=${POOL}` }
    case 'unknown':
      return { path: '/v1/jobs/nobody/events' }
    case 'events':
      return { path: `/v1/jobs/${knownId}/events?pool=${POOL}` }
    case 'pools':
      return { path: '/v1/pools' }
    case 'openapi':
      return { path: '/openapi.json' }
    case 'enqueue': {
      const body = `{"pool":"${POOL}","inputs":"${MARK}","parameters":{"max_new_tokens":1}}`
      return { method: 'POST', path: '/v1/jobs', body }
    }
    case 'wrong':
      return { method: 'POST', path: '/v1/jobs', body: '{' }
    case 'mixed': {
      if (random.chance(0.5)) return drawRequest(random, context, random.pick(KINDS.slice(0, -1)))
      const method = random.pick(['GET', 'OPTIONS', 'DELETE'])
      // Not the job that others read.
      return { method, path: drawPath(random, { ...context, knownId: 'nobody' }).slice(0, 2000) }
    }
  }
}

import type { Context } from 'hono'
import { MAX_PAGE } from '../contract/limits.ts'
import type { JobListOptions } from '../client/job-list.ts'
import { PoolError } from '../contract/error.ts'
import { parseOrThrow } from '../contract/format-issues.ts'
import { poolIdSchema } from '../contract/ids.ts'
import { shown } from '../contract/shown.ts'
import { requireScope } from '../http/authorize.ts'
import type { HttpEnv } from '../http/serve.ts'
import { inTime } from './in-time.ts'
import type { PoolFinder } from './pool-finder.ts'
import type { RequestLog } from './request-log.ts'

/** What the routes need. */
interface ListPorts {
  readonly finder: PoolFinder
  readonly log: RequestLog
  readonly redisTimeoutMs: number
}

type Handler = (context: Context<HttpEnv>) => Promise<Response>

/** The handlers that list a pool's jobs and replicas. */
export interface ListRoutes {
  /** `GET /v1/jobs`; needs the scope `operate`, because an id is enough to read or erase a job. */
  readonly jobs: Handler
  /** `GET /v1/pools/:pool/replicas`; reveals no job and changes nothing, so any key may call it. */
  readonly replicas: Handler
}

/** Creates the handlers. */
export function createListRoutes({ finder, log, redisTimeoutMs }: ListPorts): ListRoutes {
  return {
    async jobs(context) {
      const facts = log.of(context.env.incoming)
      requireScope(facts.caller, 'operate')
      const { req } = context
      // `client.jobs` validates the filter.
      const options = {
        state: req.query('state'),
        priority: req.query('priority'),
        limit: limitOf(req.query('limit')),
        // An empty cursor counts as none, so that a loop can start with it.
        cursor: req.query('cursor') || undefined,
      } as JobListOptions
      return inTime(redisTimeoutMs, async (signal) => {
        const client = await finder.byNameOrOnly(req.query('pool'), signal)
        facts.pool_id = client.pool
        return context.json(await client.jobs({ ...options, signal }))
      })
    },

    async replicas(context) {
      const pool = parseOrThrow(poolIdSchema, context.req.param('pool'), 'pool')
      return inTime(redisTimeoutMs, async (signal) => {
        const client = await finder.byName(pool, signal)
        log.of(context.env.incoming).pool_id = client.pool
        return context.json({ replicas: await client.replicas({ signal }) })
      })
    },
  }
}

function limitOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (/^\d{1,4}$/.test(text)) return Number(text)
  throw new PoolError(
    'INVALID_PARAMS',
    `limit: expected a whole number from 1 to ${MAX_PAGE}, got ${shown(text)}`,
  )
}

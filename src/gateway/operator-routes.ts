import type { Context } from 'hono'
import type { PoolClient } from '../client/pool-client.ts'
import { parseOrThrow } from '../contract/format-issues.ts'
import { poolIdSchema, replicaIdSchema } from '../contract/ids.ts'
import { strictFields } from '../contract/unknown-fields.ts'
import { requireScope } from '../http/authorize.ts'
import type { HttpEnv } from '../http/serve.ts'
import { graceSchema } from '../replica/drain.ts'
import { readJsonBody } from './body.ts'
import { inTime } from './in-time.ts'
import type { PoolFinder } from './pool-finder.ts'
import type { RequestLog } from './request-log.ts'

/** What the routes work with. */
interface OperatorPorts {
  readonly finder: PoolFinder
  readonly log: RequestLog
  readonly maxBodyBytes: number
  readonly redisTimeoutMs: number
}

type Handler = (context: Context<HttpEnv>) => Promise<Response>

/** The handlers that change a pool, or what serves it. Each needs the scope `operate`, and a Redis user with an operator's rights. */
export interface OperatorRoutes {
  /** `DELETE /v1/pools/:pool`; refused while a worker holds a lease. Deleting it in spite of that is left to the command. */
  readonly deletePool: Handler
  /** `POST /v1/pools/:pool/replicas/:replica/drain` */
  readonly drain: Handler
  /** `POST /v1/pools/:pool/replicas/:replica/undrain` */
  readonly undrain: Handler
}

/** The body of a drain. */
export const drainSchema = strictFields({
  grace_ms: graceSchema
    .optional()
    .describe(
      "Grace period for running attempts (ms); the worker's own when absent. The rest is handed over",
    ),
})

/** A pool of a million jobs takes about a minute; the next request completes what was interrupted. */
const DELETE_MS = 120_000

/** Creates them. */
export function createOperatorRoutes(ports: OperatorPorts): OperatorRoutes {
  const { finder, log, redisTimeoutMs } = ports

  /** Checks the scope before anything is read. */
  function begin(context: Context<HttpEnv>): string {
    const facts = log.of(context.env.incoming)
    requireScope(facts.caller, 'operate')
    const pool = parseOrThrow(poolIdSchema, context.req.param('pool'), 'pool')
    facts.pool_id = pool
    return pool
  }

  function onReplica(
    context: Context<HttpEnv>,
    pool: string,
    change: (client: PoolClient, replicaId: string, signal: AbortSignal) => Promise<object>,
  ): Promise<Response> {
    const replicaId = parseOrThrow(replicaIdSchema, context.req.param('replica'), 'replica id')
    return inTime(redisTimeoutMs, async (signal) => {
      const client = await finder.byName(pool, signal)
      return context.json(await change(client, replicaId, signal))
    })
  }

  return {
    async deletePool(context) {
      const pool = begin(context)
      const client = await inTime(redisTimeoutMs, (signal) => finder.byName(pool, signal))
      await inTime(DELETE_MS, (signal) => client.delete({ signal }))
      return context.body(null, 204)
    },

    async drain(context) {
      const pool = begin(context)
      const body = (await readJsonBody(context.env.incoming, ports.maxBodyBytes)) ?? {}
      const { grace_ms: graceMs } = parseOrThrow(drainSchema, body, 'drain')
      return onReplica(context, pool, (client, id, signal) => client.drain(id, { graceMs, signal }))
    },

    async undrain(context) {
      const pool = begin(context)
      return onReplica(context, pool, (client, id, signal) => client.undrain(id, { signal }))
    },
  }
}

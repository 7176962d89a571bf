import type { Context } from 'hono'
import { z } from 'zod'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { PoolError } from '../contract/error.ts'
import { parseOrThrow } from '../contract/format-issues.ts'
import { jobIdSchema, poolIdSchema } from '../contract/ids.ts'
import { START, parseCursor } from '../contract/stream-id.ts'
import type { Cursor } from '../contract/stream-id.ts'
import type { HttpEnv } from '../http/serve.ts'
import { SSE_HEADERS } from '../http/sse.ts'
import type { PoolClient } from '../client/pool-client.ts'
import { readJsonBody } from './body.ts'
import type { EventStreams } from './event-streams.ts'
import { jobIdFrom } from './idempotency.ts'
import { inTime } from './in-time.ts'
import type { PoolFinder } from './pool-finder.ts'
import type { RequestLog } from './request-log.ts'

/** What the routes of jobs work with. */
export interface JobPorts {
  readonly finder: PoolFinder
  readonly streams: EventStreams
  readonly log: RequestLog
  readonly maxBodyBytes: number
  readonly redisTimeoutMs: number
}

type Handler = (context: Context<HttpEnv>) => Promise<Response>

/** The handlers of `/v1/jobs` and what is below it. */
export interface JobRoutes {
  readonly enqueue: Handler
  readonly state: Handler
  readonly events: Handler
  readonly cancel: Handler
  readonly forget: Handler
}

/** What a body has beside the job itself. */
export const addressSchema = z.looseObject({
  pool: poolIdSchema.describe('the pool'),
  job_id: jobIdSchema.optional().describe('the idempotency key; Idempotency-Key is another way to give it'),
})

/** The body of a cancel. */
export const cancelSchema = z.strictObject({
  reason: z
    .string()
    .max(1000)
    .optional()
    .describe("stands in the job's `error` event, one line of at most 200 characters"),
})

/** Forgetting waits until a worker has let go of the job (ms). */
const FORGET_MS = 12_000

/** Makes them. */
export function createJobRoutes(ports: JobPorts): JobRoutes {
  const { finder, log, redisTimeoutMs } = ports

  /** The job of a request and its pool, noted for the log. */
  async function find(context: Context<HttpEnv>, signal: AbortSignal): Promise<[PoolClient, string]> {
    const facts = log.of(context.env.incoming)
    const jobId = parseOrThrow(jobIdSchema, context.req.param('id'), 'job id')
    facts.job_id = jobId
    const client = await finder.ofJob(jobId, context.req.query('pool'), signal)
    facts.pool_id = client.pool
    return [client, jobId]
  }

  return {
    enqueue: (context) => enqueue(ports, context),

    state: (context) =>
      inTime(redisTimeoutMs, async (signal) => {
        const [client, jobId] = await find(context, signal)
        return context.json(await client.job(jobId, { signal }))
      }),

    async events(context) {
      const { incoming, outgoing } = context.env
      const after = cursorOf(incoming.headers['last-event-id']?.toString() || context.req.query('after'))
      const [client, jobId] = await inTime(redisTimeoutMs, (signal) => find(context, signal))
      const facts = log.of(incoming)
      facts.events = 0
      if (incoming.method === 'HEAD') {
        await inTime(redisTimeoutMs, (signal) => client.job(jobId, { signal }))
        return context.body(null, 200, SSE_HEADERS)
      }
      const onEvent = () => void (facts.events = (facts.events ?? 0) + 1)
      const outcome = await ports.streams.open({ client, jobId, after, outgoing, onEvent })
      return outcome === 'streaming' ? RESPONSE_ALREADY_SENT : context.body(null, 204)
    },

    async cancel(context) {
      const body = (await readJsonBody(context.env.incoming, ports.maxBodyBytes)) ?? {}
      const { reason } = parseOrThrow(cancelSchema, body, 'cancel')
      return inTime(redisTimeoutMs, async (signal) => {
        const [client, jobId] = await find(context, signal)
        const outcome = await client.cancel(jobId, { reason, signal })
        return context.json({ job_id: jobId, outcome })
      })
    },

    async forget(context) {
      const [client, jobId] = await inTime(redisTimeoutMs, async (signal) => {
        const found = await find(context, signal)
        // It waits for a worker, so it is asked only where Redis answers.
        await found[0].has(found[1], { signal })
        return found
      })
      await inTime(FORGET_MS, (signal) => client.forget(jobId, { signal }))
      return context.body(null, 204)
    },
  }
}

/** Where to resume: after the last event the client has, or from the start. */
function cursorOf(text: string | undefined): Cursor {
  const cursor = text === undefined || text === '' ? START : parseCursor(text)
  if (cursor !== undefined) return cursor
  throw new PoolError(
    'INVALID_PARAMS',
    "Last-Event-ID or after: expected an event's id such as 1763812345678-2, got another text",
  )
}

async function enqueue(ports: JobPorts, context: Context<HttpEnv>): Promise<Response> {
  const { incoming } = context.env
  const value = await readJsonBody(incoming, ports.maxBodyBytes)
  if (value === undefined) throw new PoolError('INVALID_PARAMS', 'the body: expected a job, got nothing')
  const { pool, job_id: given, ...job } = parseOrThrow(addressSchema, value, 'job')
  const key = incoming.headers['idempotency-key']?.toString()
  const jobId = jobIdFrom(key, pool, given)
  const facts = ports.log.of(incoming)
  facts.pool_id = pool
  if (jobId !== undefined) facts.job_id = jobId
  return inTime(ports.redisTimeoutMs, async (signal) => {
    const client = await ports.finder.byName(pool, signal)
    // Checked where it is enqueued, as every job is.
    const admission = await client.enqueue(job, {
      jobId,
      correlationId: facts.correlationId,
      signal,
    })
    facts.job_id = admission.job_id
    const path = `/v1/jobs/${admission.job_id}`
    const events = `${path}/events?pool=${pool}`
    return context.json({ ...admission, pool, events }, 202, { Location: `${path}?pool=${pool}` })
  })
}

import type { Context } from 'hono'
import { accepts } from 'hono/accepts'
import { z } from 'zod'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { PoolError } from '../contract/error.ts'
import { parseOrThrow } from '../contract/format-issues.ts'
import { jobIdSchema, poolIdSchema } from '../contract/ids.ts'
import { START, parseCursor } from '../contract/stream-id.ts'
import type { JobInput } from '../contract/job.ts'
import type { Cursor } from '../contract/stream-id.ts'
import type { HttpEnv } from '../http/serve.ts'
import { SSE_HEADERS } from '../http/sse.ts'
import type { Admission } from '../client/enqueue.ts'
import { readJsonBody } from './body.ts'
import type { EventStreams, FoundJob } from './event-streams.ts'
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

const EVENT_STREAM = 'text/event-stream'
const JSON_TYPE = 'application/json'

/** Forgetting waits until a worker has let go of the job (ms). */
const FORGET_MS = 12_000

/** Makes them. */
export function createJobRoutes(ports: JobPorts): JobRoutes {
  const { finder, log, redisTimeoutMs } = ports

  /** The job of a request and its pool, noted for the log. */
  async function find(context: Context<HttpEnv>, signal: AbortSignal): Promise<FoundJob> {
    const facts = log.of(context.env.incoming)
    const jobId = parseOrThrow(jobIdSchema, context.req.param('id'), 'job id')
    facts.job_id = jobId
    const client = await finder.ofJob(jobId, context.req.query('pool'), signal)
    facts.pool_id = client.pool
    return { client, jobId }
  }

  return {
    enqueue: (context) => enqueue(ports, context),

    state: (context) =>
      inTime(redisTimeoutMs, async (signal) => {
        const { client, jobId } = await find(context, signal)
        return context.json(await client.job(jobId, { signal }))
      }),

    async events(context) {
      const after = cursorOf(context)
      if (context.env.incoming.method !== 'HEAD') {
        return stream(ports, context, after, () => inTime(redisTimeoutMs, (signal) => find(context, signal)))
      }
      await inTime(redisTimeoutMs, async (signal) => {
        const { client, jobId } = await find(context, signal)
        await client.job(jobId, { signal })
      })
      return context.body(null, 200, SSE_HEADERS)
    },

    async cancel(context) {
      const body = (await readJsonBody(context.env.incoming, ports.maxBodyBytes)) ?? {}
      const { reason } = parseOrThrow(cancelSchema, body, 'cancel')
      return inTime(redisTimeoutMs, async (signal) => {
        const { client, jobId } = await find(context, signal)
        const outcome = await client.cancel(jobId, { reason, signal })
        return context.json({ job_id: jobId, outcome })
      })
    },

    async forget(context) {
      const { client, jobId } = await inTime(redisTimeoutMs, async (signal) => {
        const found = await find(context, signal)
        // It waits for a worker, so it is asked only where Redis answers.
        await found.client.has(found.jobId, { signal })
        return found
      })
      await inTime(FORGET_MS, (signal) => client.forget(jobId, { signal }))
      return context.body(null, 204)
    },
  }
}

/** Where to resume: after the last event the client has, or from the start. */
function cursorOf(context: Context<HttpEnv>): Cursor {
  const text = context.env.incoming.headers['last-event-id']?.toString() || context.req.query('after')
  const cursor = text === undefined || text === '' ? START : parseCursor(text)
  if (cursor !== undefined) return cursor
  throw new PoolError(
    'INVALID_PARAMS',
    "Last-Event-ID or after: expected an event's id such as 1763812345678901-2, got another text",
  )
}

/** Answers with a job's events. */
async function stream(
  ports: JobPorts,
  context: Context<HttpEnv>,
  after: Cursor,
  find: (stop: AbortSignal) => Promise<FoundJob>,
): Promise<Response> {
  const { incoming, outgoing } = context.env
  const facts = ports.log.of(incoming)
  facts.events = 0
  const onEvent = () => void (facts.events = (facts.events ?? 0) + 1)
  const caller = facts.caller ?? { id: '', name: '' }
  const outcome = await ports.streams.open({ find, after, caller, outgoing, onEvent })
  return outcome === 'streaming' ? RESPONSE_ALREADY_SENT : context.body(null, 204)
}

/** A job that was accepted, where, and its address. */
interface Accepted extends FoundJob {
  readonly admission: Admission
  readonly path: string
}

/** Puts the request's job in the queue. */
async function admit(ports: JobPorts, context: Context<HttpEnv>, stop?: AbortSignal): Promise<Accepted> {
  const { incoming } = context.env
  const value = await readJsonBody(incoming, ports.maxBodyBytes)
  // While the body came, the key may have been revoked.
  stop?.throwIfAborted()
  if (value === undefined) throw new PoolError('INVALID_PARAMS', 'the body: expected a job, got nothing')
  const { pool, job_id: given, ...job } = parseOrThrow(addressSchema, value, 'job')
  const key = incoming.headers['idempotency-key']?.toString()
  const facts = ports.log.of(incoming)
  const jobId = jobIdFrom(key, pool, given, facts.caller)
  facts.pool_id = pool
  if (jobId !== undefined) facts.job_id = jobId
  return inTime(ports.redisTimeoutMs, async (signal) => {
    const client = await ports.finder.byName(pool, signal)
    // Checked where it is enqueued, as every job is.
    const admission = await client.enqueue(job as unknown as JobInput, {
      jobId,
      correlationId: facts.correlationId,
      signal,
    })
    facts.job_id = admission.job_id
    return { client, jobId: admission.job_id, admission, path: `/v1/jobs/${admission.job_id}` }
  })
}

/** Takes a job; answers where its events are or, asked for an event stream, with the events. */
async function enqueue(ports: JobPorts, context: Context<HttpEnv>): Promise<Response> {
  const after = cursorOf(context)
  // Where both are as welcome, it is the one that is named first.
  const answer = accepts(context, {
    header: 'Accept',
    supports: [JSON_TYPE, EVENT_STREAM],
    default: JSON_TYPE,
  })
  if (answer === EVENT_STREAM) {
    return stream(ports, context, after, async (stop) => {
      const { client, jobId, path } = await admit(ports, context, stop)
      // The way back, for whoever loses this line.
      context.env.outgoing.setHeader('Location', `${path}?pool=${client.pool}`)
      context.env.outgoing.setHeader('X-Job-Id', jobId)
      return { client, jobId }
    })
  }
  const { client, admission, path } = await admit(ports, context)
  const { pool } = client
  const events = `${path}/events?pool=${pool}`
  return context.json({ ...admission, pool, events }, 202, { Location: `${path}?pool=${pool}` })
}

import type { Context } from 'hono'
import { accepts } from 'hono/accepts'
import { z } from 'zod'
import { RESPONSE_ALREADY_SENT } from '@hono/node-server/utils/response'
import { PoolError } from '../contract/error.ts'
import { parseOrThrow } from '../contract/format-issues.ts'
import { jobIdSchema, poolIdSchema } from '../contract/ids.ts'
import type { JobInput } from '../contract/job.ts'
import type { Cursor } from '../contract/stream-id.ts'
import { strictFields } from '../contract/unknown-fields.ts'
import type { HttpEnv } from '../http/serve.ts'
import { SSE_HEADERS } from '../http/sse.ts'
import type { Admission } from '../client/enqueue.ts'
import { readJsonBody } from './body.ts'
import { readCursor } from './cursor.ts'
import type { EventStreams, FoundJob } from './event-streams.ts'
import { jobIdFrom } from './idempotency.ts'
import { inTime } from './in-time.ts'
import { waitForEnd } from './job-wait.ts'
import type { Caller } from './caller.ts'
import type { PoolFinder } from './pool-finder.ts'
import { REVOKED } from './reader-places.ts'
import type { PlaceHolder, ReaderPlaces } from './reader-places.ts'
import type { RequestLog } from './request-log.ts'
import { readWaitTime } from './wait-time.ts'
import type { WaitTime } from './wait-time.ts'

/** What the job routes need. */
export interface JobPorts {
  readonly finder: PoolFinder
  readonly streams: EventStreams
  readonly places: ReaderPlaces
  /** Whether a caller's key is still one of the gateway's: it may be revoked while a body comes. */
  readonly mayCall: (caller: Caller | undefined) => boolean
  readonly log: RequestLog
  readonly maxBodyBytes: number
  readonly redisTimeoutMs: number
}

type Handler = (context: Context<HttpEnv>) => Promise<Response>

/** The handlers of `/v1/jobs` and below. */
export interface JobRoutes {
  readonly enqueue: Handler
  readonly state: Handler
  readonly events: Handler
  readonly cancel: Handler
  readonly forget: Handler
}

/** The fields of a body in addition to the job's. */
export const addressSchema = z.looseObject({
  pool: poolIdSchema.describe('The pool'),
  job_id: jobIdSchema.optional().describe('the idempotency key; Idempotency-Key is another way to give it'),
})

/** The body of a cancel. */
export const cancelSchema = strictFields({
  reason: z
    .string()
    .max(1000)
    .optional()
    .describe("Reason in the job's `error` event, one line of at most 200 characters"),
})

const NOBODY: PlaceHolder = { id: '', name: '' }

const EVENT_STREAM = 'text/event-stream'
const JSON_TYPE = 'application/json'

/** How long forgetting waits for a worker to release the job (ms). */
const FORGET_MS = 12_000

/** Creates the handlers. */
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
      const body = (await readBody(ports, context)) ?? {}
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
        // This waits for a worker, so check first that Redis answers.
        await found.client.has(found.jobId, { signal })
        return found
      })
      await inTime(FORGET_MS, (signal) => client.forget(jobId, { signal }))
      return context.body(null, 204)
    },
  }
}

/** Where to resume: after the last event that the client has, or from the start. */
function cursorOf({ env, req }: Context<HttpEnv>): Cursor {
  return readCursor(env.incoming.headers['last-event-id']?.toString() || req.query('after'))
}

/** Responds with a job's events. */
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
  const caller = facts.caller ?? NOBODY
  const outcome = await ports.streams.open({ find, after, caller, outgoing, onEvent })
  return outcome === 'streaming' ? RESPONSE_ALREADY_SENT : context.body(null, 204)
}

/** An accepted job, its pool and its URL. */
interface Accepted extends FoundJob {
  readonly admission: Admission
  readonly path: string
}

/**
 * Reads the body; undefined if there is none.
 *
 * @throws {@link REVOKED} if the caller may no longer call when the body is complete.
 */
async function readBody(ports: JobPorts, { env: { incoming } }: Context<HttpEnv>): Promise<unknown> {
  const value = await readJsonBody(incoming, ports.maxBodyBytes)
  if (!ports.mayCall(ports.log.of(incoming).caller)) throw REVOKED
  return value
}

/**
 * Puts the request's job in the queue.
 *
 * @param stop no job is put there when it is aborted before the body is complete.
 */
async function admit(ports: JobPorts, context: Context<HttpEnv>, stop?: AbortSignal): Promise<Accepted> {
  const { incoming } = context.env
  const value = await readBody(ports, context)
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
    // Validated by the enqueue.
    const admission = await client.enqueue(job as unknown as JobInput, {
      jobId,
      correlationId: facts.correlationId,
      signal,
    })
    facts.job_id = admission.job_id
    return { client, jobId: admission.job_id, admission, path: `/v1/jobs/${admission.job_id}` }
  })
}

/** Accepts a job; responds with its events, its end, or the URL of its events, as the request asks. */
async function enqueue(ports: JobPorts, context: Context<HttpEnv>): Promise<Response> {
  const after = cursorOf(context)
  const { incoming } = context.env
  const wait = readWaitTime(context.req.query('wait'), incoming.headers['prefer']?.toString())
  // If both are equally acceptable, the one named first wins.
  const answer = accepts(context, {
    header: 'Accept',
    supports: [JSON_TYPE, EVENT_STREAM],
    default: JSON_TYPE,
  })
  if (answer === EVENT_STREAM) {
    return stream(ports, context, after, async (stop) => {
      const accepted = await admit(ports, context, stop)
      // For a client that has to reconnect.
      context.env.outgoing.setHeader('Location', locationOf(accepted))
      context.env.outgoing.setHeader('X-Job-Id', accepted.jobId)
      return accepted
    })
  }
  const place = wait && reservePlace(ports, context)
  if (wait === undefined || place === undefined) return respondAccepted(context, await admit(ports, context))
  return enqueueAndWait(ports, context, wait, place)
}

/** Reserves a place to wait; undefined if there is none: the job is then accepted without waiting. */
function reservePlace(ports: JobPorts, { env }: Context<HttpEnv>): AbortController | undefined {
  try {
    return ports.places.reserve(ports.log.of(env.incoming).caller ?? NOBODY)
  } catch {
    return undefined
  }
}

/** Accepts a job and responds when it has ended, or when the time is up. */
async function enqueueAndWait(
  ports: JobPorts,
  context: Context<HttpEnv>,
  { seconds, applied }: WaitTime,
  place: AbortController,
): Promise<Response> {
  const { places, redisTimeoutMs } = ports
  const { outgoing } = context.env
  const leave = () => {
    places.release(place)
    place.abort()
  }
  outgoing.once('close', leave)
  try {
    const accepted = await admit(ports, context)
    if (applied !== undefined) context.header('Preference-Applied', applied)
    const { existing } = accepted.admission
    const state = await waitForEnd({ ...accepted, existing, seconds, place, redisTimeoutMs })
    if (state === undefined) return respondAccepted(context, accepted)
    return context.json({ ...state, ...addressOf(accepted) }, 200, { Location: locationOf(accepted) })
  } finally {
    outgoing.off('close', leave)
    leave()
  }
}

function respondAccepted(context: Context<HttpEnv>, accepted: Accepted): Response {
  return context.json({ ...accepted.admission, ...addressOf(accepted) }, 202, {
    Location: locationOf(accepted),
  })
}

/** The fields that name a job's pool and its events. */
function addressOf({ client: { pool }, path }: Accepted): { pool: string; events: string } {
  return { pool, events: `${path}/events?pool=${pool}` }
}

function locationOf({ client: { pool }, path }: Accepted): string {
  return `${path}?pool=${pool}`
}

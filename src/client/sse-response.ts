import { PoolError } from '../contract/error.ts'
import type { JobEvent } from '../contract/event.ts'
import { SEAL_ID } from '../contract/stream-id.ts'
import { errorEnvelope, errorHeaders } from '../http/envelope.ts'
import { SSE_HEADERS, toSse } from '../http/sse.ts'
import type { SseOptions, SseStream } from '../http/sse.ts'
import type { Restart } from '../stream/reader.ts'
import type { CallOptions, PoolClient } from './pool-client.ts'

/** Options of {@link sseResponse}. */
export interface SseResponseOptions extends CallOptions, SseOptions {
  /**
   * The request's `Last-Event-ID`: the id of the last event that its client has.
   *
   * @defaultValue from the first event; the same if it is empty
   */
  readonly after?: string | null | undefined
}

/** A web response whose body Node's streams accept, too. */
export type SseResponse = Response & {
  /** The events, or the JSON of an error; null with 204. */
  readonly body: SseStream | null
}

type Events = AsyncGenerator<JobEvent | Restart, void, undefined>
type Step = IteratorResult<JobEvent | Restart, void>

/**
 * Answers a request for a job's events as an `EventSource` needs it; for frameworks that return a web `Response`, and
 * for `node:http` (`examples/node/event-source.ts`). It looks up the job before it responds:
 *
 * - 200 with the events after `after`, live, until the last one. Cancelling the stream stops reading; the job continues.
 * - 204 if nothing can follow `after`: it stops an `EventSource` that reconnects after the last event.
 * - The status of the {@link PoolError} otherwise, e.g. 404 for an unknown job, 400 for an invalid `after`, 503 without Redis; the body
 *   is JSON, `{"error":{"code","message","retriable"}}`, and `Retry-After` says when to retry.
 *
 * @throws only the signal's reason.
 */
export async function sseResponse(
  pool: PoolClient,
  jobId: string,
  { after, signal, heartbeatMs }: SseResponseOptions = {},
): Promise<SseResponse> {
  const events = pool.events(jobId, { after: after || undefined, signal })
  try {
    const first = await begin(pool, jobId, events, { after, signal })
    if (first.over) return new Response(null, { status: 204 })
    return new Response(toSse(resumed(first.next, events), { heartbeatMs }), { headers: SSE_HEADERS })
  } catch (error) {
    await events.return()
    if (!(error instanceof PoolError)) throw error
    const body = errorEnvelope(error)
    return Response.json(body, {
      status: error.status,
      headers: { ...errorHeaders(body), 'Cache-Control': 'no-store' },
    })
  }
}

/** Resolves when there is something to send, or will be; throws otherwise. */
async function begin(
  pool: PoolClient,
  jobId: string,
  events: Events,
  { after, signal }: Pick<SseResponseOptions, 'after' | 'signal'>,
): Promise<{ readonly next: Promise<Step>; readonly over: boolean }> {
  const next = events.next()
  // The next event may take long, so respond before it. After the terminal event, none will come.
  const known = after === SEAL_ID ? false : Promise.race([pool.has(jobId, { signal }), next.then(() => true)])
  if (await known) return { next, over: false }
  return { next, over: (await next).done === true }
}

/** The events of an iterator whose first `next()` has already been called. */
function resumed(first: Promise<Step>, events: Events): AsyncIterable<JobEvent | Restart> {
  let asked: Promise<Step> | undefined = first
  return {
    [Symbol.asyncIterator]: () => ({
      next() {
        const step = asked ?? events.next()
        asked = undefined
        return step
      },
      return: () => events.return(),
    }),
  }
}

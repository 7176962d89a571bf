import type { ServerResponse } from 'node:http'
import type { PoolClient } from '../client/pool-client.ts'
import { SEAL_ID } from '../contract/stream-id.ts'
import type { Cursor } from '../contract/stream-id.ts'
import { formatSse } from '../http/sse.ts'
import type { SseEvent } from '../http/sse.ts'
import { unlessAborted } from '../runtime/unless-aborted.ts'
import { within } from '../runtime/within.ts'
import type { Caller } from './caller.ts'
import { openEventSink } from './event-sink.ts'
import type { EventSink } from './event-sink.ts'
import { inTime } from './in-time.ts'
import { REVOKED, STOPPING } from './reader-places.ts'
import type { ReaderPlaces } from './reader-places.ts'

/** A job and the client of its pool. */
export interface FoundJob {
  readonly client: PoolClient
  readonly jobId: string
}

/** One request for a job's events. */
interface StreamRequest {
  /** Finds or enqueues the job; called once a place is reserved. The signal aborts if the stream will not be sent. */
  readonly find: (signal: AbortSignal) => Promise<FoundJob>
  /** The last event that the client has. */
  readonly after: Cursor
  /** The caller. Callers with the same name share a limit, so that keys can be rotated. */
  readonly caller: Pick<Caller, 'id' | 'name'>
  readonly outgoing: ServerResponse
  /** Called for each event that goes out. */
  readonly onEvent: () => void
}

/** `streaming`: the response was started; `nothing_more`: there is nothing to send and never will be. */
type StreamOutcome = 'streaming' | 'nothing_more'

/** Serves event streams. */
export interface EventStreams {
  /**
   * Looks up the job, then responds: if this throws, nothing was sent.
   *
   * @throws {@link PoolError} `OVERLOADED` or `TOO_MANY_STREAMS` when the limit of streams, in total or of the caller, is reached, before
   * the job is looked up; errors of `find`; `UNKNOWN_JOB`, `GONE`, `INVALID_PARAMS`, `REDIS_UNAVAILABLE`; `UNAUTHORIZED` if the
   * caller's key is revoked meanwhile.
   */
  open(request: StreamRequest): Promise<StreamOutcome>
}

/** Options of event streams. */
export interface EventStreamsOptions {
  readonly heartbeatMs: number
  readonly stallMs: number
  /** A stream whose place is aborted ends after an event, so that its reader can resume elsewhere. */
  readonly places: ReaderPlaces
  readonly redisTimeoutMs: number
  /** Called when a stream breaks off unexpectedly. */
  readonly onFault: (error: unknown, jobId: string) => void
}

/** Creates event streams. Disconnecting from one does not cancel its job. */
export function createEventStreams(options: EventStreamsOptions): EventStreams {
  const { places } = options

  /** Waits for the first event if only that shows whether there is something to send; throws if there is not. */
  async function lookFirst({ client, jobId }: FoundJob, after: Cursor, events: Events): Promise<First> {
    const next = events.next()
    // Usually there is an event, or a reason why there is none. Otherwise the job may still be waiting for its first.
    if (await within(next, SOON_MS)) return { next, step: await next }
    return inTime(options.redisTimeoutMs, async (signal) => {
      // After the terminal event, no further event will come.
      if (after !== SEAL_ID && (await client.has(jobId, { signal }))) return { next }
      return { next, step: await unlessAborted(next, signal) }
    })
  }

  return {
    async open(request) {
      const { after, outgoing } = request
      const stop = places.reserve(request.caller)
      const leave = () => {
        places.release(stop)
        stop.abort(LEFT)
      }
      outgoing.once('close', leave)
      let job: FoundJob
      let events: Events
      let first: First
      try {
        job = await request.find(stop.signal)
        // The client may have disconnected before the listener was attached.
        if (outgoing.destroyed) leave()
        events = job.client.events(job.jobId, { after, signal: stop.signal })
        first = await lookFirst(job, after, events)
        stop.signal.throwIfAborted()
      } catch (error) {
        leave()
        if (outgoing.destroyed) return 'streaming'
        throw error
      }
      if (first.step?.done === true) {
        leave()
        return 'nothing_more'
      }
      if (outgoing.destroyed) return 'streaming'
      const sink = openEventSink({ ...options, outgoing })
      run(sink, events, first.next, { onEvent: request.onEvent, signal: stop.signal })
        .catch((error: unknown) => {
          const ending = [STOPPING, REVOKED].find((reason) => reason === error)
          if (ending !== undefined) sink.push(`: ${ending.message}\n\n`)
          else if (error !== LEFT) options.onFault(error, job.jobId)
        })
        .finally(() => {
          sink.end()
          leave()
        })
      return 'streaming'
    },
  }
}

/** Sends events as they come, no faster than the client reads them. */
async function run(sink: EventSink, events: Events, first: Step, request: Running): Promise<void> {
  for (let step = await first; step.done !== true; step = await events.next()) {
    sink.push(formatSse(step.value))
    request.onEvent()
    if (sink.blocked !== undefined) await unlessAborted(sink.blocked, request.signal)
  }
}

interface Running {
  readonly onEvent: () => void
  readonly signal: AbortSignal
}

type Events = AsyncGenerator<SseEvent, void, undefined>
type Step = Promise<IteratorResult<SseEvent, void>>

/** The first `next()`, and its result if it is known. */
interface First {
  readonly next: Step
  readonly step?: IteratorResult<SseEvent, void>
}

/** How long to wait for it before checking whether the job exists (ms). */
const SOON_MS = 50

/** The client has left. */
const LEFT = new Error('the client has left')

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

/** A job and who knows of it. */
export interface FoundJob {
  readonly client: PoolClient
  readonly jobId: string
}

/** One request for a job's events. */
interface StreamRequest {
  /** Finds the job, or puts it in the queue: asked once there is room for the stream. The signal says that it will not be sent. */
  readonly find: (signal: AbortSignal) => Promise<FoundJob>
  /** The last event the client has. */
  readonly after: Cursor
  /** Who asks. Those of one name share a bound, so that a key can be rotated. */
  readonly caller: Pick<Caller, 'id' | 'name'>
  readonly outgoing: ServerResponse
  /** Called for each event that goes out. */
  readonly onEvent: () => void
}

/** What became of it: the answer is on its way, or was until its client left; or nothing is there to send, nor will be. */
type StreamOutcome = 'streaming' | 'nothing_more'

/** Serves event streams. */
export interface EventStreams {
  /**
   * Looks first and answers then: nothing is sent when this throws.
   *
   * @throws {@link PoolError} `OVERLOADED` or `TOO_MANY_STREAMS` when as many as may be are open, in all or of the caller, before the
   * job is looked for; what `find` throws; `UNKNOWN_JOB`, `GONE`, `INVALID_PARAMS`, `REDIS_UNAVAILABLE`; `UNAUTHORIZED` when the
   * caller's key is revoked meanwhile.
   */
  open(request: StreamRequest): Promise<StreamOutcome>
}

/** What streams need. */
export interface EventStreamsOptions {
  readonly heartbeatMs: number
  readonly stallMs: number
  /** A stream whose place is aborted ends after an event, so that its reader goes on elsewhere. */
  readonly places: ReaderPlaces
  readonly redisTimeoutMs: number
  /** A stream broke off that should not have. */
  readonly onFault: (error: unknown, jobId: string) => void
}

/** Serves event streams; leaving one is no cancel of its job. */
export function createEventStreams(options: EventStreamsOptions): EventStreams {
  const { places } = options

  /** The first event, if only it shows whether there is something to send; throws if there is not. */
  async function lookFirst({ client, jobId }: FoundJob, after: Cursor, events: Events): Promise<First> {
    const next = events.next()
    // As a rule there is an event, or a reason why there is none. Else the job may wait for its first.
    if (await within(next, SOON_MS)) return { next, step: await next }
    return inTime(options.redisTimeoutMs, async (signal) => {
      // Behind the terminal event nothing is to be waited for but the answer that it is there.
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
        // It may have left before there was anybody to hear of it.
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

/** Sends events as they come, no faster than the client takes them. */
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

/** The first step, and what it brought if that is known. */
interface First {
  readonly next: Step
  readonly step?: IteratorResult<SseEvent, void>
}

/** How long to wait for it before checking whether the job exists (ms). */
const SOON_MS = 50

/** The client has left. */
const LEFT = new Error('the client has left')

/**
 * Events as Server-Sent Events (WHATWG HTML, section 9.2): `id` is the cursor to resume after, `event` the name, `data`
 * the event's data. Ids, names and JSON are written without any character that a reader may take for a line end, so no event can forge another.
 */
import type { JobEvent } from '../contract/event.ts'
import { jsonLine } from '../contract/json-line.ts'

/** Anything that has an id, a name and data: a job's events, and a reader's `restart`. */
export type SseEvent = JobEvent | { readonly id: string; readonly event: 'restart'; readonly data: object }

/** One event as it goes over the wire. */
export function formatSse({ id, event, data }: SseEvent): string {
  return `id: ${id}\nevent: ${event}\ndata: ${jsonLine(data)}\n\n`
}

/** A comment: readers ignore it, and nobody in between takes the line for dead. */
export const SSE_HEARTBEAT = ': still here\n\n'

/** The headers of such an answer. */
export const SSE_HEADERS = {
  'Content-Type': 'text/event-stream; charset=utf-8',
  // A compressing proxy would buffer the stream; no-transform forbids that.
  'Cache-Control': 'no-store, no-transform',
  // nginx collects answers otherwise.
  'X-Accel-Buffering': 'no',
} as const

/** How to make a stream of them. */
export interface SseOptions {
  /** How often a comment goes out when no event does (ms). @defaultValue 15000 */
  readonly heartbeatMs?: number | undefined
}

/**
 * Turns events into the body of an SSE answer, for a server of your own:
 * `new Response(toSse(pool.events(id, { after })), { headers: SSE_HEADERS })`, where `after` is the request's
 * `Last-Event-ID`. Ends with the events; when the client leaves, the reading ends. The stream fails with what the
 * events throw.
 */
export function toSse(events: AsyncIterable<SseEvent>, options: SseOptions = {}): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder()
  const iterator = events[Symbol.asyncIterator]()
  let heartbeat: NodeJS.Timeout | undefined
  return new ReadableStream({
    start(controller) {
      heartbeat = setInterval(() => {
        if ((controller.desiredSize ?? 0) > 0) controller.enqueue(encoder.encode(SSE_HEARTBEAT))
      }, options.heartbeatMs ?? 15_000)
    },
    async pull(controller) {
      try {
        const { done, value } = await iterator.next()
        if (done !== true) {
          controller.enqueue(encoder.encode(formatSse(value)))
          return
        }
        clearInterval(heartbeat)
        controller.close()
      } catch (error) {
        clearInterval(heartbeat)
        throw error
      }
    },
    async cancel() {
      clearInterval(heartbeat)
      await iterator.return?.()
    },
  })
}

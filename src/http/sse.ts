/**
 * Events as Server-Sent Events (WHATWG HTML, section 9.2): `id` is the cursor to resume after, `event` the name, `data`
 * the event's data. Ids, names and JSON are written without any character that a reader may take for a line end, so no event can forge another.
 */
import type { JobEvent } from '../contract/event.ts'
import { jsonLine } from '../contract/json-line.ts'

/** Anything that has an id, a name and data: a job's events, and a reader's `restart`. */
export type SseEvent = JobEvent | { readonly id: string; readonly event: 'restart'; readonly data: object }

/** One event in SSE format. */
export function formatSse({ id, event, data }: SseEvent): string {
  return `id: ${id}\nevent: ${event}\ndata: ${jsonLine(data)}\n\n`
}

/** A comment: readers ignore it, and it keeps proxies from closing the connection as idle. */
export const SSE_HEARTBEAT = ': still here\n\n'

/** The headers of an SSE response. */
export const SSE_HEADERS = {
  'Content-Type': 'text/event-stream; charset=utf-8',
  // A compressing proxy would buffer the stream; no-transform forbids that.
  'Cache-Control': 'no-store, no-transform',
  // nginx collects answers otherwise.
  'X-Accel-Buffering': 'no',
} as const

/** Options of `toSse`. */
export interface SseOptions {
  /** Interval of comments while there are no events (ms). @defaultValue 15000 */
  readonly heartbeatMs?: number | undefined
}

/**
 * Turns events into the body of an SSE response, for your own server:
 * `new Response(toSse(pool.events(id, { after })), { headers: SSE_HEADERS })`, where `after` is the request's
 * `Last-Event-ID`. Ends with the events; stops reading when the client leaves. The stream fails with any error that the
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

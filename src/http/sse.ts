/**
 * Events as Server-Sent Events (WHATWG HTML, section 9.2): `id` is the cursor to resume after, `event` the name, `data`
 * the event's data. Ids, names and JSON are written without any character that a reader may take for a line end, so no event can forge another.
 */
import type { ReadableStream as NodeReadableStream } from 'node:stream/web'
import type { JobEvent } from '../contract/event.ts'
import { jsonLine } from '../contract/json-line.ts'

/** What {@link formatSse} takes: a job's events, and a reader's `restart`. */
export type SseEvent =
  | JobEvent
  | {
      /** The cursor to resume after. */
      readonly id: string
      /** The events start again. */
      readonly event: 'restart'
      /** Why. */
      readonly data: object
    }

/** One event in SSE format: `id`, `event` and `data` lines and an empty one. */
export function formatSse({ id, event, data }: SseEvent): string {
  return `id: ${id}\nevent: ${event}\ndata: ${jsonLine(data)}\n\n`
}

/** A comment: readers ignore it, and it keeps proxies from closing the connection as idle. */
export const SSE_HEARTBEAT = ': still here\n\n'

/** The headers of an SSE response. */
export const SSE_HEADERS = {
  /** What makes a response an event stream. */
  'Content-Type': 'text/event-stream; charset=utf-8',
  /** Nobody may store it; `no-transform` keeps proxies from compressing, which would buffer the stream. */
  'Cache-Control': 'no-store, no-transform',
  /** Keeps nginx from buffering the stream. */
  'X-Accel-Buffering': 'no',
} as const

/**
 * A web stream of bytes that is one to Node's types and to those of browsers, which do not accept each other: `new Response(stream)`
 * and `Readable.fromWeb(stream)` compile with TypeScript's DOM library and without it.
 */
export type SseStream = ReadableStream<Uint8Array> & NodeReadableStream<Uint8Array>

/** Options of {@link toSse}. */
export interface SseOptions {
  /**
   * Interval of the comments that keep an idle connection open (ms).
   *
   * @defaultValue 15000
   */
  readonly heartbeatMs?: number | undefined
}

/**
 * Turns events into the body of an SSE response with {@link SSE_HEADERS}. Ends with the events; stops reading when its client
 * leaves. The stream fails with any error that the events throw, an unknown job included, and then it is too late for a status:
 * `sseResponse` looks first and answers 404, 204 or 200.
 */
export function toSse(events: AsyncIterable<SseEvent>, options: SseOptions = {}): SseStream {
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

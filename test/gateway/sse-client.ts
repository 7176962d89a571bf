import { Agent, request } from 'node:http'
import type { IncomingHttpHeaders, IncomingMessage, RequestOptions } from 'node:http'
import { createParser } from 'eventsource-parser'

/** One event as it came over the wire. */
export interface WireEvent {
  readonly id: string
  readonly event: string
  readonly data: unknown
}

/** An answer that may be an event stream. */
export interface EventAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly events: readonly WireEvent[]
  readonly comments: readonly string[]
  /** All that has come, as text. */
  readonly body: string
  /** Whether it ended well: not cut off in the middle of anything. */
  readonly ended: Promise<boolean>
  /** Leaves. */
  leave(): void
  /** Stops to take data; the kernel takes some more. */
  pause(): void
  /** Takes data again. */
  resume(): void
}

/** Asks for events as a browser does, on a connection of its own; resolves when the headers are there. */
export async function openEvents(url: string, headers: Record<string, string> = {}): Promise<EventAnswer> {
  return listen(url, { headers })
}

/** Puts a job in the queue and asks for its events in one request. */
export async function postForEvents(
  url: string,
  job: unknown,
  headers: Record<string, string> = {},
): Promise<EventAnswer> {
  const types = { 'Content-Type': 'application/json', Accept: 'text/event-stream' }
  return listen(url, { method: 'POST', headers: { ...types, ...headers } }, JSON.stringify(job))
}

async function listen(url: string, options: RequestOptions, sent?: string): Promise<EventAnswer> {
  const agent = new Agent({ keepAlive: false })
  const response = await new Promise<IncomingMessage>((resolve, reject) => {
    request(url, { ...options, agent }, resolve)
      .on('error', reject)
      .end(sent)
  })
  const events: WireEvent[] = []
  const comments: string[] = []
  let body = ''
  const parser = createParser({
    onEvent: ({ id, event, data }) =>
      events.push({ id: id ?? '', event: event ?? '', data: JSON.parse(data) as unknown }),
    onComment: (comment) => comments.push(comment),
  })
  response.setEncoding('utf8').on('data', (text: string) => {
    body += text
    if (response.headers['content-type']?.startsWith('text/event-stream') === true) parser.feed(text)
  })
  const ended = new Promise<boolean>((resolve) => {
    response.on('error', () => undefined).on('close', () => resolve(response.complete))
  })
  return {
    status: response.statusCode ?? 0,
    headers: response.headers,
    events,
    comments,
    get body() {
      return body
    },
    ended,
    leave: () => void response.destroy(),
    pause: () => void response.pause(),
    resume: () => void response.resume(),
  }
}

/** All events of a job from a place to the end of the answer. */
export async function readAll(url: string, headers?: Record<string, string>): Promise<WireEvent[]> {
  const answer = await openEvents(url, headers)
  if (answer.status !== 200) throw new Error(`expected events, got ${answer.status}`)
  await answer.ended
  return [...answer.events]
}

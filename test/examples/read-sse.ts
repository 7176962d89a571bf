import { EventSourceParserStream } from 'eventsource-parser/stream'
import type { EventSourceMessage } from 'eventsource-parser/stream'
import { expect } from 'vitest'

/** Reads an event stream to its end, or leaves it after some events; none where the answer is 204. */
export async function readSse(url: URL, after?: string, most = Infinity): Promise<EventSourceMessage[]> {
  const messages: EventSourceMessage[] = []
  const leave = new AbortController()
  const response = await fetch(url, {
    headers: after === undefined ? {} : { 'Last-Event-ID': after },
    signal: leave.signal,
  })
  expect(response.status).toBe(response.body === null ? 204 : 200)
  if (response.body === null) return messages
  const texts = response.body.pipeThrough(new TextDecoderStream())
  for await (const message of texts.pipeThrough(new EventSourceParserStream())) {
    messages.push(message)
    if (messages.length === most) break
  }
  leave.abort()
  return messages
}

import { createParser } from 'eventsource-parser'
import { request } from 'undici'
import { taggedPrompt } from '../support/lab.ts'

/** One event of TGI, as far as a caller looks at it. */
export interface TgiFrame {
  readonly token: { readonly id: number; readonly text: string; readonly logprob: number }
  readonly generated_text: string | null
}

/** The body of a request to TGI. */
export function tgiBody(tag: string, tokens: number): string {
  return JSON.stringify({
    inputs: taggedPrompt(tag),
    parameters: { max_new_tokens: tokens, details: true },
  })
}

/** Calls a replica as its callers do: undici, eventsource-parser, one JSON.parse a token. Throws what TGI tells. */
export async function* tgiFrames(
  replicaUrl: string,
  body: string,
  signal?: AbortSignal,
): AsyncGenerator<TgiFrame, void, undefined> {
  const response = await request(`${replicaUrl}/generate_stream`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body,
    signal: signal ?? null,
  })
  if (response.statusCode !== 200) throw new Error(`the replica answered ${response.statusCode}`)
  yield* framesOf(response.body)
}

/** The frames in the bytes of an event stream. */
async function* framesOf(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<TgiFrame, void, undefined> {
  const texts: string[] = []
  const parser = createParser({ onEvent: ({ data }) => texts.push(data) })
  const decoder = new TextDecoder()
  for await (const chunk of bytes) {
    parser.feed(decoder.decode(chunk, { stream: true }))
    for (const text of texts.splice(0)) yield parseFrame(text)
  }
}

/** Reads one event's data; throws what TGI tells inside an event. */
export function parseFrame(text: string): TgiFrame {
  const frame = JSON.parse(text) as TgiFrame & { readonly error?: string }
  if (frame.error !== undefined) throw new Error(frame.error)
  return frame
}

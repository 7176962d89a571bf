/**
 * Plain `fetch` against a gateway, with resume: needs no package of ours, only an SSE parser.
 *
 *     TGI_POOL_GATEWAY=http://127.0.0.1:8700 TGI_POOL=p node examples/node/over-http.ts "Why is the sky blue?"
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { EventSourceParserStream } from 'eventsource-parser/stream'
import type { EventSourceMessage } from 'eventsource-parser/stream'

const BASE = process.env['TGI_POOL_GATEWAY'] ?? 'http://127.0.0.1:8700'

/** Asks until an answer comes that asking again would not change. */
async function ask(path: string, init: RequestInit): Promise<Response> {
  for (;;) {
    try {
      const response = await fetch(new URL(path, BASE), init)
      if (response.ok) return response
      const { error } = (await response.json()) as {
        error: { code: string; message: string; retriable: boolean }
      }
      if (!error.retriable) throw new Error(`${error.code}: ${error.message}`)
    } catch (error) {
      // `fetch` fails with a TypeError, JSON of somebody else's with a SyntaxError.
      if (!(error instanceof TypeError || error instanceof SyntaxError)) throw error
    }
    await sleep(500)
  }
}

/** Yields a job's events to its last one, whatever happens to the gateway in between. */
async function* follow(path: string): AsyncGenerator<EventSourceMessage> {
  for (let after = ''; ;) {
    const { body } = await ask(path, { headers: { 'Last-Event-ID': after } })
    // 204: nothing can follow the event that was seen last.
    if (body === null) return
    try {
      const text = body.pipeThrough(new TextDecoderStream())
      for await (const message of text.pipeThrough(new EventSourceParserStream())) {
        yield message
        // An event counts as seen when it was whole and has been dealt with.
        after = message.id ?? after
        if (message.event === 'end' || message.event === 'error') return
      }
    } catch (error) {
      if (!(error instanceof TypeError)) throw error
    }
  }
}

// With an id of our own it is safe to send the job again when no answer came.
const job = {
  pool: process.env['TGI_POOL'] ?? 'p',
  job_id: crypto.randomUUID(),
  inputs: process.argv[2] ?? 'Tell me a story',
  parameters: { max_new_tokens: 100 },
}
const accepted = await ask('/v1/jobs', {
  method: 'POST',
  headers: { 'Content-Type': 'application/json' },
  body: JSON.stringify(job),
})
const { events } = (await accepted.json()) as { events: string }

const tokens: string[] = []
for await (const { event, data } of follow(events)) {
  const held = tokens.length
  if (event === 'token') {
    const { t, special } = JSON.parse(data) as { t: string; special?: true }
    tokens.push(special === true ? '' : t)
    process.stdout.write(tokens.at(-1) ?? '')
  } else if (event === 'restart') tokens.length = 0
  else if (event === 'started') {
    tokens.length = Math.min(held, (JSON.parse(data) as { next_token: number }).next_token)
  } else if (event === 'error') {
    console.error(data)
    process.exitCode = 3
  }
  // What is on a terminal cannot be taken back: what still holds is printed anew.
  if (tokens.length < held) process.stdout.write(`\n${tokens.join('')}`)
}
console.log()

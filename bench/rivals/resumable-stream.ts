/**
 * `resumable_stream`: the npm package of that name, as its README has it. A web handler (resumable-stream-child.ts) calls
 * the replica and wraps the body; the first reader gets it from that process; who comes back asks any other handler, which
 * has it sent through Redis's pub/sub by the first one. The reader parses the replica's events and counts characters.
 */
import { createParser } from 'eventsource-parser'
import { Agent, request } from 'undici'
import { IMAGE_FLAGS, startWeighedProcess } from '../support/weighed-process.ts'
import type { OnToken, Reading, Rival, RivalSettings } from './rival.ts'
import { parseFrame } from './tgi-answers.ts'

/** What a handler answers when there is nothing to read: the stream is done, or nobody knows it (the README's 422). */
export const NOTHING_TO_READ = 422

/** What a reader asks a handler for. */
interface HandlerRequest {
  readonly tag: string
  readonly url: string
  /** Begins an answer; without one it is resumed. */
  readonly body: string | null
  /** Characters that it has already. */
  readonly skip: number
}

/** Who is asked to resume, and by whom. */
interface Door {
  /** The address of the handler that did not begin the answers. */
  readonly otherUrl: string
  readonly agent: Agent
}

/** Starts two handlers: one is asked first, the other one by those who come back. */
export async function startResumableStream(settings: RivalSettings): Promise<Rival> {
  const script = new URL('resumable-stream-child.ts', import.meta.url)
  const [server, other] = await Promise.all([
    startWeighedProcess({ script, settings, nodeFlags: IMAGE_FLAGS }),
    startWeighedProcess({ script, settings, nodeFlags: IMAGE_FLAGS }),
  ])
  const door: Door = { otherUrl: other.url, agent: new Agent() }
  return {
    name: 'resumable_stream',
    server,
    helpers: [other],
    ask(tag, tokens, onToken) {
      const url = `${server.url}/streams/${tag}`
      return read(door, { tag, url, body: JSON.stringify({ tokens }), skip: 0 }, onToken)
    },
    readAll: (tag, onToken) => read(door, resumption(door, tag, 0), onToken),
    leftovers: 'resumable-stream:*',
    async stop() {
      await door.agent.destroy()
      await Promise.all([server.stop(), other.stop()])
    },
  }
}

function resumption({ otherUrl }: Door, tag: string, skip: number): HandlerRequest {
  return { tag, url: `${otherUrl}/streams/${tag}?skip=${skip}`, body: null, skip }
}

function read(door: Door, asked: HandlerRequest, onToken: OnToken): Reading {
  const stop = new AbortController()
  // Characters up to the end of the last whole event: where the next reader begins.
  let told = asked.skip
  const onData = (data: string) => {
    if (stop.signal.aborted) return
    // The replica writes each event as "data: …" and two newlines.
    told += 'data: '.length + data.length + 2
    onToken(parseFrame(data).token.text)
  }
  const reader = { onData, dispatcher: door.agent, signal: stop.signal }
  return {
    ended: readHandler(asked, reader).catch((error: unknown) => {
      if (!stop.signal.aborted) throw error
    }),
    leave: () => stop.abort(),
    comeBack: (again) => read(door, resumption(door, asked.tag, told), again),
  }
}

interface HandlerReader {
  readonly onData: (data: string) => void
  readonly dispatcher: Agent
  readonly signal: AbortSignal
}

async function readHandler({ url, body }: HandlerRequest, reader: HandlerReader): Promise<void> {
  const { onData, dispatcher, signal } = reader
  const response = await request(url, { method: body === null ? 'GET' : 'POST', body, dispatcher, signal })
  if (response.statusCode === NOTHING_TO_READ) {
    await response.body.dump()
    return
  }
  if (response.statusCode !== 200) throw new Error(`the handler answered ${await response.body.text()}`)
  const parser = createParser({ onEvent: ({ data }) => onData(data) })
  const decoder = new TextDecoder()
  for await (const chunk of response.body) {
    parser.feed(decoder.decode(chunk as Uint8Array, { stream: true }))
  }
}

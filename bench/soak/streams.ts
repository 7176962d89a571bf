import { Agent, request } from 'undici'

/** A steady load on a gateway. */
export interface Streams extends AsyncDisposable {
  /** Answers that were read to their end. */
  readonly answers: number
  /** Throws what has gone wrong in any of them. */
  check(): void
}

const TOKENS = 500

/** Keeps so many jobs under way, each read to its end in the request that put it in. */
export function startStreams(gatewayUrl: string, streams: number): Streams {
  const agent = new Agent({ connections: streams })
  const stop = new AbortController()
  let answers = 0
  let fault: unknown

  async function run(): Promise<void> {
    while (!stop.signal.aborted) {
      await once(gatewayUrl, agent, stop.signal)
      answers += 1
    }
  }

  const runs = Array.from({ length: streams }, () =>
    run().catch((error: unknown) => {
      if (!stop.signal.aborted) fault ??= error
    }),
  )
  return {
    get answers() {
      return answers
    },
    check() {
      if (fault !== undefined) throw fault
    },
    async [Symbol.asyncDispose]() {
      stop.abort()
      await Promise.all(runs)
      await agent.destroy()
    },
  }
}

async function once(gatewayUrl: string, dispatcher: Agent, signal: AbortSignal): Promise<void> {
  const { statusCode, body } = await request(`${gatewayUrl}/v1/jobs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'text/event-stream' },
    body: JSON.stringify({ pool: 'soak', inputs: 'Tell me more.', parameters: { max_new_tokens: TOKENS } }),
    dispatcher,
    signal,
  })
  let last = ''
  for await (const chunk of body)
    last = (last + Buffer.from(chunk as Uint8Array).toString('latin1')).slice(-8192)
  if (statusCode !== 200 || !last.includes('event: end'))
    throw new Error(`an answer without an end (HTTP ${statusCode}): ${last.slice(-300)}`)
}

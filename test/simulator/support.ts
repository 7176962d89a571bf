import http from 'node:http'
import net from 'node:net'
import { test as base, expect } from 'vitest'
import type { SimulatorOptions } from '../../src/simulator/options.ts'
import type { Simulator } from '../../src/simulator/server.ts'
import { startSimulator } from '../../src/simulator/server.ts'

/** A test with simulators that are as fast as they go (unless told) and are gone afterwards, their sockets too. */
export const test = base.extend<{ simulate: (options?: SimulatorOptions) => Promise<Simulator> }>({
  // oxlint-disable-next-line no-empty-pattern -- vitest reads a fixture's dependencies from this pattern
  simulate: async ({}, use) => {
    const started: Simulator[] = []
    await use(async (options) => {
      const simulator = await startSimulator({ tokensPerSecond: 0, prefillMs: 0, ...options })
      started.push(simulator)
      return simulator
    })
    await Promise.all(started.map((simulator) => simulator.stop()))
    for (const simulator of started) await expect.poll(() => simulator.state().open_sockets).toBe(0)
  },
})

/** A whole answer. */
export interface Answer {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  readonly text: string
  readonly json: () => unknown
}

/** An answer under way. */
export interface Stream {
  readonly status: number
  readonly headers: http.IncomingHttpHeaders
  /** Bytes as they came, one string a chunk. */
  readonly chunks: readonly string[]
  /** All bytes so far. */
  readonly text: () => string
  /** Data frames so far, parsed; a frame that does not parse is its own text. */
  readonly events: () => readonly Event[]
  /** How it ended: whole, or cut off. */
  readonly closed: Promise<'end' | 'cut'>
  destroy(): void
  pause(): void
  resume(): void
}

/** Any field of any data frame. */
export interface Event {
  readonly index?: number
  readonly token?: {
    readonly id: number
    readonly text: string
    readonly logprob: number | null
    readonly special: boolean
  }
  readonly top_tokens?: readonly { readonly id: number; readonly logprob: number }[]
  readonly generated_text?: string | null
  readonly details?: {
    readonly finish_reason: string
    readonly generated_tokens: number
    readonly seed: number | null
    readonly input_length: number
  } | null
  readonly error?: string
  readonly error_type?: string
  readonly broken?: string
}

function parseEvents(text: string): readonly Event[] {
  return text
    .split('\n\n')
    .filter((frame) => frame.startsWith('data:'))
    .map((frame): Event => {
      try {
        const event: Event = JSON.parse(frame.slice(5))
        return event
      } catch {
        return { broken: frame }
      }
    })
}

interface Asked {
  readonly method?: string
  readonly headers?: http.OutgoingHttpHeaders
  /** Text is sent as it is, anything else as JSON. */
  readonly body?: unknown
}

/** Sends a request on a connection of its own and waits for the headers. */
export function open(simulator: Simulator, path: string, asked: Asked = {}): Promise<Stream> {
  const { body, headers, method = body === undefined ? 'GET' : 'POST' } = asked
  const type = body === undefined ? {} : { 'content-type': 'application/json' }
  return new Promise((resolve, reject) => {
    const options = { method, headers: { ...type, ...headers }, agent: false, noDelay: true }
    const request = http.request(simulator.url + path, options, (response) => {
      const chunks: string[] = []
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => chunks.push(chunk))
      const closed = new Promise<'end' | 'cut'>((settle) => {
        response.on('end', () => settle('end'))
        response.on('error', () => settle('cut'))
        response.on('close', () => settle('cut'))
      })
      resolve({
        status: response.statusCode ?? 0,
        headers: response.headers,
        chunks,
        text: () => chunks.join(''),
        events: () => parseEvents(chunks.join('')),
        closed,
        destroy: () => void request.destroy(),
        pause: () => void response.pause(),
        resume: () => void response.resume(),
      })
    })
    request.on('error', reject)
    request.end(body === undefined ? undefined : typeof body === 'string' ? body : JSON.stringify(body))
  })
}

/** Sends a request and reads the whole answer. */
export async function send(simulator: Simulator, path: string, asked: Asked = {}): Promise<Answer> {
  const stream = await open(simulator, path, asked)
  await stream.closed
  const text = stream.text()
  return { status: stream.status, headers: stream.headers, text, json: (): unknown => JSON.parse(text) }
}

/** The events of one whole generation by `/generate_stream`. */
export async function generate(
  simulator: Simulator,
  inputs: string,
  parameters: Record<string, unknown> = {},
): Promise<readonly Event[]> {
  const stream = await open(simulator, '/generate_stream', {
    body: { inputs, parameters: { details: true, max_new_tokens: 20, ...parameters } },
  })
  await stream.closed
  return stream.events()
}

/** The texts of tokens, joined, special ones left out. */
export function joined(events: readonly Event[]): string {
  return events.map(({ token }) => (token?.special === false ? token.text : '')).join('')
}

/** The ids of tokens. */
export function ids(events: readonly Event[]): readonly (number | undefined)[] {
  return events.map(({ token }) => token?.id)
}

/** A bare TCP connection that has sent a generation request. */
export async function openRaw(
  simulator: Simulator,
  body: unknown,
  path = '/generate_stream',
): Promise<net.Socket> {
  const socket = net.connect(simulator.port, '127.0.0.1')
  await new Promise((resolve) => socket.once('connect', resolve))
  const text = JSON.stringify(body)
  const head = `POST ${path} HTTP/1.1\r\nhost: simulator\r\ncontent-type: application/json\r\n`
  socket.write(`${head}content-length: ${Buffer.byteLength(text)}\r\n\r\n${text}`)
  return socket
}

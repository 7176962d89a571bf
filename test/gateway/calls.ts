import { request } from 'node:http'
import type { IncomingHttpHeaders } from 'node:http'
import { expect } from 'vitest'

/** An answer, whole. */
export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  /** The body as JSON. */
  readonly json: Record<string, unknown>
}

/** What is sent, as it is: no header is added but Host, and what Node must. */
export interface Call {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | Buffer | undefined
}

/** How long an event stream is listened to (ms). */
const LISTEN_MS = 200

/** Sends one request on a connection of its own. An event stream is left after a moment. */
export function call(url: string, { method = 'GET', headers = {}, body }: Call = {}): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const length = body === undefined ? {} : { 'Content-Length': String(Buffer.byteLength(body)) }
    const sent = request(url, { method, headers: { ...length, ...headers }, agent: false }, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      if (response.headers['content-type']?.startsWith('text/event-stream') === true) {
        const timer = setTimeout(() => response.destroy(), LISTEN_MS)
        response.on('close', () => clearTimeout(timer))
      }
      response.on('error', () => undefined)
      response.on('close', () => {
        const text = Buffer.concat(chunks).toString('utf8')
        resolve({
          status: response.statusCode ?? 0,
          headers: response.headers,
          text,
          get json() {
            return JSON.parse(text) as Record<string, unknown>
          },
        })
      })
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

/** Posts JSON. */
export function post(url: string, value: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  return call(url, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json', ...headers },
    body: JSON.stringify(value),
  })
}

/** That an answer is an error of a code, in the envelope. */
export function expectError(answer: Answer, status: number, code: string): Record<string, unknown> {
  expect([answer.status, answer.text]).toEqual([status, expect.stringContaining(`"code":"${code}"`)])
  const { error, ...more } = answer.json
  expect(more).toEqual({})
  expect(error).toMatchObject({ code, message: expect.any(String), retriable: expect.any(Boolean) })
  expect(answer.headers['x-content-type-options']).toBe('nosniff')
  return error as Record<string, unknown>
}

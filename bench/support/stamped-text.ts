/**
 * Tokens that carry in their text when they were written: ` river` leaves as ` river@1234567.891`, in milliseconds of the
 * machine's monotonic clock. So every way that keeps the text keeps the time, no second channel has to be matched with
 * the first, and all ways pay for the same few bytes. Paced tokens have a write each, stamped just before it.
 */
import { subscribe } from 'node:diagnostics_channel'
import type { ServerResponse } from 'node:http'
import { monotonicMs } from './clock.ts'

/** The text of a token in TGI's frames; only tokens have one. */
const TEXT = /("text":"(?:[^"\\]|\\.)*)"/g

/** Stamps what this process's HTTP server writes from now on. */
export function stampText(): void {
  subscribe('http.server.request.start', (message) => {
    const { response } = message as { response: ServerResponse }
    const write = response.write.bind(response) as (chunk: unknown, ...rest: unknown[]) => boolean
    response.write = (chunk: unknown, ...rest: unknown[]) => {
      if (typeof chunk !== 'string') return write(chunk, ...rest)
      const stamp = monotonicMs().toFixed(3)
      return write(chunk.replace(TEXT, `$1@${stamp}"`), ...rest)
    }
  })
}

/** When a token with this text was written (ms of the machine's monotonic clock); NaN without a stamp. */
export function stampOf(text: string): number {
  const at = text.lastIndexOf('@')
  return at < 0 ? Number.NaN : Number(text.slice(at + 1))
}

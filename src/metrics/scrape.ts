import { createTgiClient } from '../tgi/client.ts'
import type { Family } from './family.ts'
import { readExposition } from './tolerant.ts'

/** How to ask a replica for its metrics. */
export interface ScrapeOptions {
  readonly url: string
  /** Sent as a Bearer key; TGI asks for none here, a proxy in front of it may. */
  readonly apiKey?: string | undefined
  /** For all of it (ms). */
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

/** What came of it. */
export interface Scrape {
  /** Empty if the scrape failed; without families that bad lines made doubtful. */
  readonly families: readonly Family[]
  readonly seconds: number
  /** What is wrong with its first bad line. */
  readonly fault?: Error | undefined
  /** How many samples were dropped for bad lines. */
  readonly malformed: number
  /** How many samples were left out because it has too many. */
  readonly shed: number
  /** How many it has, and how many it may have. */
  readonly surplus?: Error | undefined
  /** Why it failed. */
  readonly error?: Error | undefined
}

/** Asks one replica, over a connection of its own. Never rejects, whatever the replica does. */
export async function scrapeReplica(options: ScrapeOptions): Promise<Scrape> {
  const { url, apiKey, timeoutMs, signal } = options
  const from = performance.now()
  const seconds = () => (performance.now() - from) / 1000
  try {
    const client = createTgiClient({ url, apiKey })
    try {
      const text = await client.metrics({ timeoutMs, signal })
      return { ...readExposition(text), seconds: seconds() }
    } finally {
      await client.close()
    }
  } catch (cause) {
    const error = cause instanceof Error ? cause : new Error(String(cause))
    return { families: [], malformed: 0, shed: 0, seconds: seconds(), error }
  }
}

import { PoolError } from '../contract/error.ts'
import { shown } from '../contract/shown.ts'

/** Longest wait for a job to end (seconds): nginx and most load balancers close a request that is silent for longer. */
export const MAX_WAIT_S = 60

/** How long a request waits for its job to end. */
export interface WaitTime {
  readonly seconds: number
  /** The `Preference-Applied` header of the response; absent when the wait is no preference. */
  readonly applied?: string
}

/**
 * Reads the wait that a request asks for: from the query, else from `Prefer: wait=N` (RFC 7240, section 4.3). A preference is never an
 * error: a value above the limit is lowered to it, and an invalid value is ignored.
 *
 * @returns undefined when the request asks for none.
 * @throws {@link PoolError} `INVALID_PARAMS` for a query value that is not a whole number from 0 to {@link MAX_WAIT_S}.
 */
export function readWaitTime(query: string | undefined, prefer: string | undefined): WaitTime | undefined {
  if (query === undefined) return preferredWait(prefer ?? '')
  const seconds = /^\d{1,2}$/.test(query) ? Number(query) : Infinity
  if (seconds <= MAX_WAIT_S) return { seconds }
  throw new PoolError(
    'INVALID_PARAMS',
    `wait: expected whole seconds from 0 to ${MAX_WAIT_S}, got ${shown(query)}`,
  )
}

/** Only the first `wait` counts (RFC 7240, section 2). */
function preferredWait(prefer: string): WaitTime | undefined {
  // Preferences are separated by commas outside quotes.
  const preferences = prefer.match(/(?:[^,"]|"(?:[^"\\]|\\.)*"?)+/g) ?? []
  const wait = preferences.find((preference) => /^\s*wait\s*(?:[=;]|$)/i.test(preference)) ?? ''
  const digits = /^\s*wait\s*=\s*"?(\d+)"?\s*(?:;|$)/i.exec(wait)?.[1]
  if (digits === undefined) return undefined
  const seconds = Math.min(Number(digits), MAX_WAIT_S)
  return { seconds, applied: `wait=${seconds}` }
}

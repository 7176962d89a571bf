import { PoolError } from '../contract/error.ts'
import { SEAL_ID, START } from '../contract/stream-id.ts'
import type { Cursor } from '../contract/stream-id.ts'
import { shown } from '../contract/shown.ts'

/**
 * A cursor in a request. Stricter than Redis's stream ids, so that one pattern describes it: an epoch is a time in µs, which stays
 * below 9 · 10^15 until the year 2255. An empty cursor counts as none, because proxies send it.
 */
export const CURSOR_PATTERN = `^(?:(?:0|[1-9][0-9]{0,14}|[1-8][0-9]{15})-(?:0|[1-9][0-9]{0,14})|${SEAL_ID})?$`

const FITS = new RegExp(CURSOR_PATTERN)

/**
 * Reads where to resume: after an event's id, or from the start if there is none.
 *
 * @throws {@link PoolError} `INVALID_PARAMS`
 */
export function readCursor(text: string = ''): Cursor {
  if (text === '') return START
  if (FITS.test(text)) return text as Cursor
  throw new PoolError(
    'INVALID_PARAMS',
    `Last-Event-ID or after: expected an event's id such as 1763812345678901-2, got ${shown(text)}`,
  )
}

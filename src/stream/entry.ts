import { PoolError } from '../contract/error.ts'
import { EVENT_SCHEMAS } from '../contract/event.ts'
import type { EventData, EventName, JobEvent } from '../contract/event.ts'
import { parseCursor } from '../contract/stream-id.ts'
import type { Cursor } from '../contract/stream-id.ts'

/** One entry as Redis holds it: `data` is compact JSON. */
export interface LogEntry {
  readonly id: Cursor
  readonly event: EventName
  readonly data: string
}

/** What XRANGE and XREAD answer for one entry: the id, then field, value, field, value. */
export type RawEntry = [id: string, fields: string[]]

/** Makes an entry. */
export function formatEntry<Name extends EventName>(
  id: Cursor,
  event: Name,
  data: EventData[Name],
): LogEntry {
  return { id, event, data: JSON.stringify(data) }
}

/**
 * Reads an entry's two fields, without looking into `data`.
 *
 * @throws {@link PoolError} `INTERNAL` when this is no entry of ours.
 */
export function parseRawEntry([rawId, fields]: RawEntry): LogEntry {
  const id = parseCursor(rawId)
  const [first, event, second, data] = fields
  if (
    id === undefined ||
    first !== 'event' ||
    second !== 'data' ||
    data === undefined ||
    !isEventName(event)
  ) {
    throw new PoolError(
      'INTERNAL',
      `stream entry ${rawId}: expected fields event and data, got ${fields.length / 2} others`,
    )
  }
  return { id, event, data }
}

/**
 * Reads an entry whole.
 *
 * @throws {@link PoolError} `INTERNAL` when `data` is not what the contract says.
 */
export function parseEntry(entry: LogEntry): JobEvent {
  const { id, event } = entry
  const data = parseJson(entry)
  // One token event in a thousand is another event: tokens have a check of their own, held equal to the schema.
  if (event === 'token' && isTokenData(data)) return { id, event, data }
  const result = EVENT_SCHEMAS[event].safeParse(data)
  if (!result.success) {
    const at = result.error.issues.map((issue) => issue.path.join('.')).join(', ')
    throw new PoolError('INTERNAL', `stream entry ${id}: ${event} does not fit the contract at ${at}`)
  }
  return { id, event, data: result.data } as JobEvent
}

function parseJson(entry: LogEntry): unknown {
  try {
    return JSON.parse(entry.data)
  } catch (cause) {
    throw new PoolError('INTERNAL', `stream entry ${entry.id}: data is not JSON`, { cause })
  }
}

/** Whether a value is a plain `token` event's data; what it refuses the schema may still allow (`top`). */
export function isTokenData(data: unknown): data is EventData['token'] {
  if (typeof data !== 'object' || data === null) return false
  const token = data as Partial<Record<keyof EventData['token'], unknown>>
  return (
    typeof token.t === 'string' &&
    isCount(token.i) &&
    isCount(token.id) &&
    (token.logprob === null || (typeof token.logprob === 'number' && Number.isFinite(token.logprob))) &&
    (token.special === undefined || token.special === true) &&
    token.top === undefined &&
    token.first_token_ms === undefined &&
    token.ttft_ms === undefined
  )
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function isEventName(value: string | undefined): value is EventName {
  return value !== undefined && Object.hasOwn(EVENT_SCHEMAS, value)
}

/**
 * Ids of stream entries. They are ours, never Redis's `*`: an id names the whole past of its entry.
 *
 * | id | who writes | event |
 * |---|---|---|
 * | `0-1` | producer, before the job is in the queue | `queued` |
 * | `<epoch>-1` | worker, at pick-up | `started`; fences every older attempt |
 * | `<epoch>-<n>`, n = 2, 3, … | that attempt | `token`, `metrics` |
 * | `9007199254740991-1` | whoever gets there first | the seal: `end` or `error` |
 */
declare const brand: unique symbol

/** An id of a stream entry, or {@link START}: what a reader resumes after. */
export type Cursor = string & { readonly [brand]: 'cursor' }

/** Before the first entry. As an expectation: there is no stream yet. */
export const START = '0-0' as Cursor

/** The id of `queued`. */
export const QUEUED_ID = '0-1' as Cursor

/** The id of the terminal event. Nothing can follow it: Redis refuses ids that go back. */
export const SEAL_ID = '9007199254740991-1' as Cursor

/** The two numbers of an id. */
export interface IdParts {
  /** 0 for `queued`, the seal's number for the terminal event, else Redis's clock (ms) at pick-up. */
  readonly epoch: number
  readonly n: number
}

/** Reads an id; undefined when it is none of ours. */
export function parseCursor(text: string): Cursor | undefined {
  const match = /^(0|[1-9]\d{0,15})-(0|[1-9]\d{0,15})$/.exec(text)
  if (match === null) return undefined
  return Number(match[1]) <= Number.MAX_SAFE_INTEGER && Number(match[2]) <= Number.MAX_SAFE_INTEGER
    ? (text as Cursor)
    : undefined
}

/** The id of entry `n` of an epoch. */
export function entryId(epoch: number, n: number): Cursor {
  return `${epoch}-${n}` as Cursor
}

/** Splits an id that {@link parseCursor} or {@link entryId} made. */
export function idParts(id: Cursor): IdParts {
  const dash = id.indexOf('-')
  return { epoch: Number(id.slice(0, dash)), n: Number(id.slice(dash + 1)) }
}

/** Order of two ids, as Redis has it: negative when `a` comes first. */
export function compareIds(a: Cursor, b: Cursor): number {
  const left = idParts(a)
  const right = idParts(b)
  return left.epoch - right.epoch || left.n - right.n
}

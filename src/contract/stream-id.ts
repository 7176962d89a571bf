/**
 * Ids of stream entries. They are ours, never Redis's `*`: an id names the whole past of its entry.
 *
 * | id | who writes | event |
 * |---|---|---|
 * | `0-1` | producer, before the job is in the queue | `queued` |
 * | `<epoch>-1` | worker, at pick-up | `started`; fences every older attempt |
 * | `<epoch>-<n>`, n = 2, 3, … | that attempt | `token`, `metrics` |
 * | `9007199254740991-1` | the first writer | the seal: `end` or `error` |
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
  /** 0 for `queued`, the seal's number for the terminal event, else what {@link nextEpoch} chose at pick-up. */
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

/** Longest step from the last epoch when the clock cannot be used (µs): about a second. */
const EPOCH_SPREAD = 2 ** 20

/**
 * The epoch of an attempt: Redis's clock in µs at pick-up, or a number above the last epoch if that is higher.
 *
 * No two attempts may share an epoch, not even with an attempt whose entries a failover has lost: their ids would name two
 * pasts. The clock repeats no microsecond, but after a failover it may be behind. Attempts on either side of a second failover
 * would then all count from the same last epoch, so the step above it is random, from 1 to 2^20.
 *
 * A job's first attempt has no epoch before it, so its epoch is always the clock: {@link epochMs} is when it began.
 *
 * @param lastEpoch 0 without an attempt.
 * @param random in [0, 1).
 */
export function nextEpoch(lastEpoch: number, nowUs: number, random: () => number = Math.random): number {
  return nowUs > lastEpoch ? nowUs : lastEpoch + 1 + Math.floor(random() * EPOCH_SPREAD)
}

/** Below this an epoch is in ms, as in streams of earlier versions; in µs it would be in 1973. */
const FIRST_EPOCH_IN_US = 1e14

/** When the attempt with an epoch was picked up (ms since 1970, Redis's clock); exact for a job's first attempt. */
export function epochMs(epoch: number): number {
  return epoch < FIRST_EPOCH_IN_US ? epoch : Math.floor(epoch / 1000)
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

/**
 * Stands in front of a replica that fails. Pure: time comes in.
 *
 * | state | attempts admitted | leaves it |
 * |---|---|---|
 * | `closed` | all | {@link FAULTS} faults in a row, or one `overloaded` → `open` |
 * | `open` | none | its time is up → `half_open` |
 * | `half_open` | one | that one's answer: `ok` → `closed`, else → `open`, twice as long |
 */
export interface Breaker {
  /** Whether an attempt may begin now; in `half_open` the first to ask is the probe. */
  admit(nowMs: number): boolean
  /** What an admitted attempt met. `overloaded`: the replica had no room; no fault of its own. */
  record(result: 'ok' | 'fault' | 'overloaded', nowMs: number): void
  /** An admitted attempt ended without telling anything of the replica, e.g. it was cancelled. */
  forget(): void
  /** Lets `open` end when its time is up. */
  expire(nowMs: number): void
  /** When `open` ends; undefined in every other state. */
  readonly openUntil: number | undefined
  /** Why it is not closed; undefined when it is. */
  readonly cause: 'faults' | 'overloaded' | undefined
  /** Closes it: the replica is another one now. */
  reset(): void
  /** In `half_open`: one attempt at a time. */
  readonly probing: boolean
  /** That one is under way. */
  readonly isProbed: boolean
}

const FAULTS = 3
const FAULT_MIN_MS = 500
const FAULT_MAX_MS = 30_000
const OVERLOADED_MIN_MS = 50
const OVERLOADED_MAX_MS = 2_000

/** A breaker, closed. `random` spreads workers that met the same trouble at the same time. */
export function createBreaker(random: () => number = Math.random): Breaker {
  let state: 'closed' | 'open' | 'half_open' = 'closed'
  let openUntil = 0
  let faults = 0
  let overloads = 0
  /** The one attempt of `half_open` is under way. */
  let probe = false

  /** How often it opened for faults since the last good answer. */
  let openings = 0
  let cause: 'faults' | 'overloaded' = 'faults'

  function reset(): void {
    state = 'closed'
    faults = 0
    overloads = 0
    openings = 0
    probe = false
  }

  function open(why: typeof cause, nowMs: number, minMs: number, maxMs: number, count: number): void {
    const ms = Math.min(minMs * 2 ** Math.min(count, 20), maxMs)
    openUntil = nowMs + ms / 2 + (random() * ms) / 2
    state = 'open'
    cause = why
    probe = false
  }

  function expire(nowMs: number): void {
    if (state === 'open' && nowMs >= openUntil) state = 'half_open'
  }

  return {
    expire,
    admit(nowMs) {
      expire(nowMs)
      if (state === 'closed') return true
      if (state === 'open' || probe) return false
      probe = true
      return true
    },
    record(result, nowMs) {
      if (result === 'ok') {
        reset()
        return
      }
      // The attempts that ran beside the one that opened it meet the same trouble: that is no more of it.
      if (state === 'open') return
      if (result === 'overloaded') {
        open('overloaded', nowMs, OVERLOADED_MIN_MS, OVERLOADED_MAX_MS, overloads)
        overloads += 1
        return
      }
      faults += 1
      if (faults < FAULTS && state !== 'half_open') return
      open('faults', nowMs, FAULT_MIN_MS, FAULT_MAX_MS, openings)
      openings += 1
    },
    reset,
    forget() {
      probe = false
    },
    get openUntil() {
      return state === 'open' ? openUntil : undefined
    },
    get cause() {
      return state === 'closed' ? undefined : cause
    },
    get probing() {
      return state === 'half_open'
    },
    get isProbed() {
      return probe
    },
  }
}

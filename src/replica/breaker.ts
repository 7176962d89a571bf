/**
 * Guards a replica that fails. Pure: the caller passes the time.
 *
 * | state | a job may begin | leaves it |
 * |---|---|---|
 * | `closed` | yes | {@link FAULTS} jobs failed in a row → `trial`; one `overloaded` → `open` |
 * | `trial` | no | the worker's own tiny generation fails → `open`; succeeds → `closed`, or `half_open` while the replica is suspect |
 * | `open` | no | its time is up → `trial` after faults, `half_open` after `overloaded` |
 * | `half_open` | one at a time | its answer: `ok` → `closed`; a fault of a job that had none before → `open`, twice as long; none for {@link IDLE_MS} → `closed` |
 *
 * Faults may be the prompts' doing, so jobs are not what a failing replica is tried with: a fault counts once for each job,
 * and once for all jobs that failed together. One that no job can have caused counts each time.
 */
export interface Breaker {
  readonly state: 'closed' | 'trial' | 'open' | 'half_open'
  /** Whether an attempt may begin now; in `half_open` the first to ask is the probe. */
  admit(nowMs: number): boolean
  /** Records the result of an admitted attempt. */
  record(met: AttemptResult, nowMs: number): void
  /** A probe ended, perhaps without a verdict on the replica, e.g. it was cancelled. A no-op when it is no longer the probe. */
  forget(probe: number): void
  /**
   * Ends the trial.
   *
   * @param result `suspect`: it succeeded, but jobs that failed here have ended well elsewhere.
   */
  endTrial(result: 'passed' | 'suspect' | 'failed', nowMs: number): void
  /** Ends `open` if its time is up. */
  expire(nowMs: number): void
  /** When `open` ends; undefined in every other state. */
  readonly openUntil: number | undefined
  /** When {@link expire} will change something; undefined when nothing does by itself. */
  readonly expiresAt: number | undefined
  /** What is wrong with the replica; undefined while nothing is known to be. */
  readonly cause: 'faults' | 'overloaded' | undefined
  /** Closes it: another replica is behind the address now. */
  reset(): void
  /** The number of the running probe of `half_open`; undefined when there is none. */
  readonly probe: number | undefined
}

/** The result of an attempt on its replica. */
type AttemptResult =
  | { readonly kind: 'ok' }
  /** `keys`: the job, and the event when other jobs failed together with it; none when no job can be the cause. */
  | { readonly kind: 'fault'; readonly keys: readonly string[] }
  /** The replica had no room, which is no fault. `retryAfterMs`: the pause that it asked for. */
  | { readonly kind: 'overloaded'; readonly retryAfterMs: number | undefined }

const FAULTS = 3
const FAULT_MIN_MS = 500
const FAULT_MAX_MS = 30_000
/** How long it is half open without a job (ms): without work it must not look sick for ever. */
const IDLE_MS = 10_000
const OVERLOADED_MIN_MS = 50
const OVERLOADED_MAX_MS = 2_000

/** A closed breaker. `random` spreads workers that failed at the same time. */
export function createBreaker(random: () => number = Math.random): Breaker {
  let state: Breaker['state'] = 'closed'
  let openUntil = 0
  let cause: 'faults' | 'overloaded' = 'faults'
  /** Keys of the faults since the last good answer, and how many faults were new. */
  const keys = new Set<string>()
  let faults = 0
  /** How often it opened for either cause since the last good answer. */
  let openings = 0
  let overloads = 0
  let idleUntil = 0
  let probes = 0
  /** The one attempt of `half_open` that is running. */
  let probe: number | undefined

  function reset(): void {
    state = 'closed'
    keys.clear()
    faults = 0
    openings = 0
    overloads = 0
    probe = undefined
  }

  /** Twice as long each time, with jitter over the second half; never shorter than the replica asked for. */
  function open(nowMs: number, minMs: number, maxMs: number, count: number, atLeastMs = 0): void {
    const ms = Math.min(minMs * 2 ** Math.min(count, 20), maxMs)
    openUntil = nowMs + Math.max(ms / 2 + (random() * ms) / 2, atLeastMs)
    state = 'open'
    probe = undefined
  }

  function openForFaults(nowMs: number): void {
    cause = 'faults'
    open(nowMs, FAULT_MIN_MS, FAULT_MAX_MS, openings)
    openings += 1
  }

  function recordFault(seen: readonly string[], nowMs: number): void {
    const isNew = !seen.some((key) => keys.has(key))
    for (const key of seen) keys.add(key)
    if (state === 'half_open') {
      // A job that has failed before says nothing new; another one is the next probe.
      if (isNew) openForFaults(nowMs)
      else probe = undefined
      return
    }
    // Attempts that ran beside the ones that led here meet the same trouble.
    if (state !== 'closed' || !isNew) return
    faults += 1
    if (faults < FAULTS) return
    cause = 'faults'
    state = 'trial'
  }

  function recordOverloaded(retryAfterMs: number | undefined, nowMs: number): void {
    if (state === 'open') {
      openUntil = Math.max(openUntil, nowMs + (retryAfterMs ?? 0))
      return
    }
    if (state === 'trial') return
    cause = 'overloaded'
    open(nowMs, OVERLOADED_MIN_MS, OVERLOADED_MAX_MS, overloads, retryAfterMs)
    overloads += 1
  }

  function expire(nowMs: number): void {
    if (state === 'open' && nowMs >= openUntil) {
      if (cause === 'faults') state = 'trial'
      else halfOpen(nowMs)
    }
    if (state === 'half_open' && probe === undefined && nowMs >= idleUntil) reset()
  }

  function halfOpen(nowMs: number): void {
    state = 'half_open'
    idleUntil = nowMs + IDLE_MS
  }

  return {
    expire,
    admit(nowMs) {
      expire(nowMs)
      if (state === 'closed') return true
      if (state !== 'half_open' || probe !== undefined) return false
      probes += 1
      probe = probes
      return true
    },
    record(met, nowMs) {
      if (met.kind === 'ok') reset()
      else if (met.kind === 'fault') recordFault(met.keys, nowMs)
      else recordOverloaded(met.retryAfterMs, nowMs)
    },
    endTrial(result, nowMs) {
      if (state !== 'trial') return
      if (result === 'failed') openForFaults(nowMs)
      else if (result === 'passed' && openings === 0) reset()
      else halfOpen(nowMs)
    },
    reset,
    forget(ended) {
      if (probe === ended) probe = undefined
    },
    get state() {
      return state
    },
    get openUntil() {
      return state === 'open' ? openUntil : undefined
    },
    get expiresAt() {
      if (state === 'half_open' && probe === undefined) return idleUntil
      return state === 'open' ? openUntil : undefined
    },
    get cause() {
      // Until a trial has failed, the prompts may be the cause.
      if (state === 'closed' || (state === 'trial' && openings === 0)) return undefined
      return cause
    },
    get probe() {
      return probe
    },
  }
}

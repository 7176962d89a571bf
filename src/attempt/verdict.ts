import type { ErrorCode } from '../contract/codes.ts'
import { TgiError } from '../tgi/error.ts'
import type { TgiErrorKind } from '../tgi/error.ts'
import { Divergence, Interruption } from './interruption.ts'

/** What becomes of an attempt that ended without its answer, and what that says of the replica. */
export type Verdict = {
  readonly replica?: 'ok' | 'fault' | 'overloaded' | undefined
  readonly message: string
} & (
  | { readonly kind: 'seal'; readonly code: ErrorCode }
  | {
      readonly kind: 'back'
      readonly delayMs: number
      readonly counts: boolean
      readonly outcome: string
      /** The stream is ours no longer: what is not written yet stays unwritten. */
      readonly fenced?: boolean
    }
  | { readonly kind: 'over'; readonly outcome: string }
)

/** What the verdict depends on beside the fault. */
export interface VerdictFacts {
  /** There are tokens, and the job says `fail`: it may not go on. */
  readonly mayNotGoOn: boolean
  readonly lockMs: number
  readonly attempt: number
}

const BACKOFF_MIN_MS = 100
const BACKOFF_MAX_MS = 5000

/** The replica read the request and will never take it. */
const REFUSED: ReadonlySet<TgiErrorKind> = new Set(['validation', 'refused', 'too_large'])

/** Whether the replica read the request and will never take it. */
export function isFinal(kind: TgiErrorKind): boolean {
  return REFUSED.has(kind)
}

/** Nothing reached the replica's GPU: no attempt was used. */
const NOT_BEGUN: ReadonlySet<TgiErrorKind> = new Set(['overloaded', 'connect', 'unauthorized', 'unhealthy'])

/**
 * The one place that decides on retries: seal, give back, or nothing. A fault costs an attempt, and the next one runs the
 * job again or goes on with its answer; a job that may not go on is sealed `WORKER_RESET`.
 */
export function verdictOn(error: unknown, facts: VerdictFacts, random: () => number = Math.random): Verdict {
  if (error instanceof Interruption) return verdictOnInterruption(error, facts)
  if (error instanceof Divergence) return { kind: 'seal', code: 'REPLAY_DIVERGED', message: error.message }
  if (!(error instanceof TgiError)) {
    // A mistake of ours: to run it again would only meet it again. Its text may hold anything.
    const name = error instanceof Error ? error.name : typeof error
    return { kind: 'seal', code: 'INTERNAL', message: `internal fault (${name})` }
  }
  const { message } = error
  if (isFinal(error.kind)) return { kind: 'seal', code: 'INVALID_PARAMS', message, replica: 'ok' }
  const replica = error.kind === 'overloaded' ? 'overloaded' : 'fault'
  if (facts.mayNotGoOn) return { kind: 'seal', code: 'WORKER_RESET', message, replica }
  const backoff = Math.min(BACKOFF_MIN_MS * 2 ** (facts.attempt - 1), BACKOFF_MAX_MS)
  const delayMs = Math.round(backoff / 2 + (random() * backoff) / 2)
  return { kind: 'back', delayMs, counts: !NOT_BEGUN.has(error.kind), outcome: error.kind, message, replica }
}

function verdictOnInterruption(interruption: Interruption, facts: VerdictFacts): Verdict {
  const { kind, message } = interruption
  switch (kind) {
    case 'sealed':
      return { kind: 'over', outcome: 'sealed', message }
    case 'deadline':
      return { kind: 'seal', code: 'DECODE_TIMEOUT', message }
    case 'lock_lost':
    case 'fenced':
      return { kind: 'back', delayMs: facts.lockMs, counts: true, outcome: kind, message, fenced: true }
    case 'overtaken':
      return { kind: 'back', delayMs: 0, counts: false, outcome: kind, message, fenced: true }
    case 'lease_lost':
    case 'drain':
      if (facts.mayNotGoOn) return { kind: 'seal', code: 'WORKER_RESET', message }
      return { kind: 'back', delayMs: 0, counts: kind === 'lease_lost', outcome: kind, message }
  }
}

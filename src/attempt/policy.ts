import type { ErrorCode } from '../contract/codes.ts'
import type { AttemptCost } from '../queue/consumer.ts'
import { TgiError } from '../tgi/error.ts'
import type { TgiErrorKind } from '../tgi/error.ts'
import { Divergence, Interruption } from './interruption.ts'

/**
 * The one retry policy: what becomes of attempt, job and replica after every fault and every interruption. Pure.
 *
 * | cause | job | attempt | replica |
 * |---|---|---|---|
 * | `validation`, `refused`, `too_large` | seal `INVALID_PARAMS` | | ok |
 * | `overloaded` | back, after its backoff | unharmed | paused, at least for `Retry-After` |
 * | `connect`, `unauthorized`, `unhealthy` | back, after its backoff | unharmed | fault |
 * | `generation`, `incomplete`, `disconnected` after its first token, while another request failed before its own | back, after its backoff | unharmed | fault |
 * | any other fault of the replica | back, after its backoff | spent | fault |
 * | a replay that diverges | seal `REPLAY_DIVERGED` | | |
 * | a fault of our own | seal `INTERNAL` | | |
 * | `sealed` | nothing: the job is over | | |
 * | `deadline` | seal `DECODE_TIMEOUT` | | |
 * | `lock_lost`, `fenced` | back, after a lock time; nothing more is written | spent | |
 * | `lease_lost` | back, after its backoff | spent | |
 * | `drain` | back at once | unharmed | |
 * | `overtaken` | back at once, to read the stream again | not begun | |
 * | `elsewhere` | back, after a moment | not begun | |
 * | `left_to_others`, `apart` | back at once, for the next idle worker; after a moment if this worker gets it again | not begun | |
 * | `our_fault` | back, after a second | not begun | |
 *
 * Four rules stand above the table:
 *
 * 1. An attempt whose `started` is not in the stream is `not_begun`, whatever ended it: the stream counts attempts.
 * 2. A job that has tokens and says `on_interrupt: fail` is sealed `WORKER_RESET` instead of going back.
 * 3. The attempt that spends the last one allowed (`max_attempts`) seals the job: `REPLICA_EXHAUSTED` before the first
 *    token, `WORKER_RESET` after it, with the cause.
 * 4. A worker that dies, or loses its lock, counts against each job that it held, begun or not: BullMQ counts these when it takes the
 *    job from the dead worker. After `max_attempts` of them the job is sealed as in rule 3 before its body is read again.
 */
export type Decision = {
  /** What the cause says of the replica; absent when it says nothing. */
  readonly replica?: ReplicaVerdict | undefined
  /** The cause, without prompt or secret. */
  readonly message: string
} & (
  | { readonly kind: 'seal'; readonly code: ErrorCode }
  | {
      readonly kind: 'back'
      readonly delayMs: number
      readonly attempt: AttemptCost
      readonly outcome: string
      /** The stream belongs to another attempt: pending writes are dropped. */
      readonly fenced?: boolean
    }
  | { readonly kind: 'over'; readonly outcome: string }
)

/** What an attempt says of its replica. */
export type ReplicaVerdict =
  | { readonly kind: 'ok' }
  | {
      readonly kind: 'fault'
      readonly message: string
      /** Whether the engine failed while generating, and so may have failed every request it had. */
      readonly engine: boolean
      /** Whether the job got as far as the engine, and so may be the cause. */
      readonly reached: boolean
    }
  | { readonly kind: 'overloaded'; readonly retryAfterMs: number | undefined }

/** What a decision depends on besides the cause. */
export interface AttemptFacts {
  /** Its `started` is in the stream. */
  readonly begun: boolean
  /** Tokens of the answer that are published, by all attempts. */
  readonly tokens: number
  /** The attempts that count against the job, this one included. */
  readonly spent: number
  readonly maxAttempts: number
  /** The job's choice for an answer that is interrupted after its first token. */
  readonly onInterrupt: 'continue' | 'replay' | 'fail' | undefined
  readonly lockMs: number
  /** Its engine failed, and a request that failed with it is the suspect. @defaultValue false */
  readonly isVictim?: boolean | undefined
  /** This worker sent the job away a moment ago. @defaultValue false */
  readonly sentAwayAgain?: boolean | undefined
}

const BACKOFF_MIN_MS = 100
const BACKOFF_MAX_MS = 5000
/** Another replica must take the job and may need a moment (ms). */
const ELSEWHERE_MS = 250
const SENT_AWAY_MS = 500
/** Time to recover for a replica that could not prepare a continuation, or for a Redis that failed (ms). */
const NOT_BEGUN_MS = 500
const OUR_FAULT_MS = 1000

/** The replica read the request and will never accept it. */
const REFUSED: ReadonlySet<TgiErrorKind> = new Set(['validation', 'refused', 'too_large'])
/** Nothing reached the replica's GPU. */
const UNHARMED: ReadonlySet<TgiErrorKind> = new Set(['overloaded', 'connect', 'unauthorized', 'unhealthy'])
/** The engine died or failed a whole batch (TGI: one shard's error fails every request of its batch). */
const ENGINE: ReadonlySet<TgiErrorKind> = new Set(['generation', 'incomplete', 'disconnected'])

/** Whether the replica read the request and will never accept it. */
export function isFinal(kind: TgiErrorKind): boolean {
  return REFUSED.has(kind)
}

/** Decides what follows from `cause`, which an attempt threw or was interrupted with. */
export function decide(cause: unknown, facts: AttemptFacts, random: () => number = Math.random): Decision {
  const decision = rowOf(cause, facts, random)
  if (decision.kind !== 'back') return decision
  if (!facts.begun) return { ...decision, attempt: 'not_begun' }
  if (decision.fenced === true || decision.attempt === 'not_begun') return decision
  const { message, replica } = decision
  if (facts.tokens > 0 && facts.onInterrupt === 'fail')
    return { kind: 'seal', code: 'WORKER_RESET', message, replica }
  if (decision.attempt === 'unharmed' || facts.spent < facts.maxAttempts) return decision
  return { ...exhausted(facts, message), replica }
}

/**
 * How many attempts of a job count against `max_attempts`. An attempt that was handed back unharmed does not; a worker that died
 * counts, also if it died before `started` was in the stream, which no attempt in the stream shows.
 *
 * @param handBacks bounded by the attempts: the queue's memory may be a producer's.
 * @param deaths workers that died, whether or not they had begun an attempt.
 */
export function countSpent({
  attempts,
  handBacks,
  deaths,
}: {
  readonly attempts: number
  readonly handBacks: number
  readonly deaths: number
}): number {
  return Math.max(attempts - Math.min(handBacks, attempts), deaths)
}

/** What a job's stream says when the job is picked up. */
export type PickUpFacts = Pick<AttemptFacts, 'tokens' | 'spent' | 'maxAttempts' | 'onInterrupt'> & {
  /** The replica of the last attempt; undefined before the first. */
  readonly lastReplica: string | undefined
}

/**
 * Decides at pick-up whether the job may begin another attempt; returns a seal if not. An attempt that ends normally decides for
 * itself, so if the decision is left to a pick-up, the worker of the last attempt died.
 */
export function decidePickUp(facts: PickUpFacts): { code: ErrorCode; message: string } | undefined {
  const cause = `the worker of ${facts.lastReplica ?? 'its replica'} died`
  if (facts.tokens > 0 && facts.onInterrupt === 'fail') return { code: 'WORKER_RESET', message: cause }
  if (facts.spent < facts.maxAttempts) return undefined
  return exhausted(facts, cause)
}

/** Decides on a job that is not picked up again because its workers died too often. */
export function decideGivenUp(facts: Pick<AttemptFacts, 'tokens' | 'spent'>): {
  code: ErrorCode
  message: string
} {
  return exhausted(facts, 'its worker died')
}

/** Decides on a replay that needs a build which no replica of the pool runs. */
export function decideBuildGone(build: { engine_version: string; model_id: string }): {
  code: ErrorCode
  message: string
} {
  const { engine_version: version, model_id: model } = build
  return {
    code: 'WORKER_RESET',
    message: `the answer can only be repeated by ${model} on ${version}, which no replica of the pool runs`,
  }
}

function exhausted(
  { tokens, spent }: Pick<AttemptFacts, 'tokens' | 'spent'>,
  cause: string,
): { kind: 'seal'; code: ErrorCode; message: string } {
  const attempts = spent === 1 ? '1 attempt' : `${spent} attempts`
  const when = tokens > 0 ? 'before the answer was complete' : 'before the first token'
  return {
    kind: 'seal',
    code: tokens > 0 ? 'WORKER_RESET' : 'REPLICA_EXHAUSTED',
    message: `${attempts} failed ${when}; last: ${cause}`,
  }
}

function rowOf(cause: unknown, facts: AttemptFacts, random: () => number): Decision {
  if (cause instanceof Interruption) return afterInterruption(cause, facts, random)
  if (cause instanceof Divergence) return { kind: 'seal', code: 'REPLAY_DIVERGED', message: cause.message }
  if (cause instanceof TgiError) return afterFault(cause, facts, random)
  // A bug of ours: another attempt would hit it again. Its text may hold anything, so only its name is used.
  const name = cause instanceof Error ? cause.name : typeof cause
  return { kind: 'seal', code: 'INTERNAL', message: `internal fault (${name})` }
}

function afterFault(error: TgiError, facts: AttemptFacts, random: () => number): Decision {
  const { kind, message } = error
  const replica = replicaVerdict(error)
  // Before `started` an attempt only asks the replica how to continue; another replica may accept what this one refuses.
  if (isFinal(kind) && facts.begun) return { kind: 'seal', code: 'INVALID_PARAMS', message, replica }
  return {
    kind: 'back',
    delayMs: facts.begun ? backoffMs(facts, random) : NOT_BEGUN_MS,
    attempt: UNHARMED.has(kind) || (facts.isVictim === true && ENGINE.has(kind)) ? 'unharmed' : 'spent',
    outcome: kind,
    message,
    replica,
  }
}

function replicaVerdict(error: TgiError): ReplicaVerdict {
  if (isFinal(error.kind)) return { kind: 'ok' }
  if (error.kind === 'overloaded') return { kind: 'overloaded', retryAfterMs: error.retryAfterMs }
  const { kind, message } = error
  return { kind: 'fault', message, engine: ENGINE.has(kind), reached: !UNHARMED.has(kind) }
}

/** Doubles with every attempt that counts, up to five seconds, with jitter over its second half. */
function backoffMs({ spent }: AttemptFacts, random: () => number): number {
  const backoff = Math.min(BACKOFF_MIN_MS * 2 ** Math.max(0, spent - 1), BACKOFF_MAX_MS)
  return Math.round(backoff / 2 + (random() * backoff) / 2)
}

function afterInterruption(cause: Interruption, facts: AttemptFacts, random: () => number): Decision {
  const { kind: outcome, message } = cause
  const back = { kind: 'back', outcome, message } as const
  switch (outcome) {
    case 'sealed':
      return { kind: 'over', outcome, message }
    case 'deadline':
      return { kind: 'seal', code: 'DECODE_TIMEOUT', message }
    case 'lock_lost':
    case 'fenced':
      return { ...back, delayMs: facts.lockMs, attempt: 'spent', fenced: true }
    case 'overtaken':
      return { ...back, delayMs: 0, attempt: 'not_begun', fenced: true }
    case 'lease_lost':
      return { ...back, delayMs: backoffMs(facts, random), attempt: 'spent' }
    case 'drain':
      return { ...back, delayMs: 0, attempt: 'unharmed' }
    case 'elsewhere':
      return { ...back, delayMs: ELSEWHERE_MS, attempt: 'not_begun' }
    case 'left_to_others':
    case 'apart':
      return { ...back, delayMs: facts.sentAwayAgain === true ? SENT_AWAY_MS : 0, attempt: 'not_begun' }
    case 'our_fault':
      return { ...back, delayMs: OUR_FAULT_MS, attempt: 'not_begun' }
  }
}

/**
 * Why an attempt stops before its answer is complete, or does not begin. policy.ts decides what follows.
 *
 * | kind | when |
 * |---|---|
 * | `sealed` | the job is over: cancelled, or its deadline passed |
 * | `deadline` | its deadline passed during the attempt |
 * | `lock_lost` | BullMQ's lock on the job may belong to another worker |
 * | `fenced` | a newer attempt has begun |
 * | `overtaken` | another writer was faster than this attempt's first entry |
 * | `lease_lost` | the lease on the replica may belong to another worker |
 * | `drain` | the worker stops, or its replica is drained |
 * | `elsewhere` | only another build can continue the answer |
 * | `left_to_others` | it failed here, and a replica that has tried it less often is ready |
 * | `apart` | a job that failed together with it is running here |
 * | `our_fault` | a fault of our own, or of Redis, before the attempt began |
 */
export type InterruptionKind =
  | 'sealed'
  | 'deadline'
  | 'lock_lost'
  | 'fenced'
  | 'overtaken'
  | 'lease_lost'
  | 'drain'
  | 'elsewhere'
  | 'left_to_others'
  | 'apart'
  | 'our_fault'

const MESSAGES: Record<InterruptionKind, string> = {
  sealed: 'the job is over',
  deadline: 'the deadline passed before the answer was complete',
  lock_lost: 'the lock on the job was lost',
  fenced: 'a newer attempt has begun',
  overtaken: 'the stream moved on before the attempt began',
  lease_lost: 'the lease on the replica was lost',
  drain: 'the worker was stopped or its replica drained',
  elsewhere: 'only a replica of another build can continue the answer',
  left_to_others: 'the job failed here and is left to another replica',
  apart: 'the job failed together with one that is running here',
  our_fault: 'Redis or the worker failed before the attempt began',
}

/** A replay did not give the tokens that are published. */
export class Divergence extends Error {
  override readonly name = 'Divergence'

  /** @param index of the first token that differed, or did not come. */
  constructor(index: number) {
    super(`token ${index} differed when the answer was repeated`)
  }
}

/** The reason an attempt's signal carries. The first one wins. */
export class Interruption extends Error {
  override readonly name = 'Interruption'
  readonly kind: InterruptionKind

  constructor(kind: InterruptionKind) {
    super(MESSAGES[kind])
    this.kind = kind
  }
}

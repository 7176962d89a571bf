/**
 * Why an attempt stops before its answer is whole:
 *
 * | kind | when | then |
 * |---|---|---|
 * | `sealed` | the job is over: cancelled, or its deadline passed | nothing |
 * | `deadline` | its deadline passes here | seal |
 * | `lock_lost` | BullMQ's lock may be another's | write nothing more, give the job back |
 * | `fenced` | a newer attempt has begun | write nothing more, give the job back |
 * | `overtaken` | somebody wrote before this attempt's first entry | give the job back, to look again |
 * | `lease_lost` | the replica may be another worker's | close the socket, give the job back |
 * | `drain` | the worker stops | give the job back |
 *
 * What is given back after its first token goes on there, unless the job says `fail`: then it is sealed.
 */
export type InterruptionKind =
  | 'sealed'
  | 'deadline'
  | 'lock_lost'
  | 'fenced'
  | 'overtaken'
  | 'lease_lost'
  | 'drain'

const MESSAGES: Record<InterruptionKind, string> = {
  sealed: 'the job is over',
  deadline: 'the deadline passed before the answer was whole',
  lock_lost: 'the lock on the job was lost',
  fenced: 'a newer attempt has begun',
  overtaken: 'the stream moved on before the attempt began',
  lease_lost: 'the lease on the replica was lost',
  drain: 'the worker was stopped',
}

/** A replay did not give the tokens that are published. */
export class Divergence extends Error {
  override readonly name = 'Divergence'

  /** @param index of the first token that came otherwise, or did not come. */
  constructor(index: number) {
    super(`token ${index} came otherwise when the answer was repeated`)
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

/**
 * Why an attempt stops before its answer is whole:
 *
 * | kind | when | then |
 * |---|---|---|
 * | `sealed` | the job is over: cancelled, or its deadline passed | nothing |
 * | `deadline` | its deadline passes here | seal |
 * | `lock_lost` | BullMQ's lock may be another's | write nothing more, give the job back |
 * | `fenced` | a newer attempt has begun | write nothing more, give the job back |
 * | `lease_lost` | the replica may be another worker's | close the socket; give back or seal |
 * | `drain` | the worker stops | give back or seal |
 */
export type InterruptionKind = 'sealed' | 'deadline' | 'lock_lost' | 'fenced' | 'lease_lost' | 'drain'

const MESSAGES: Record<InterruptionKind, string> = {
  sealed: 'the job is over',
  deadline: 'the deadline passed before the answer was whole',
  lock_lost: 'the lock on the job was lost',
  fenced: 'a newer attempt has begun',
  lease_lost: 'the lease on the replica was lost',
  drain: 'the worker was stopped',
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

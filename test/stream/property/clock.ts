/**
 * How the clock of Redis behaves in a schedule:
 *
 * | clock | a reading is | a failover |
 * |---|---|---|
 * | `running` | the time | changes nothing |
 * | `behind` | the time, less what failovers took away | sets it back by ten seconds |
 * | `frozen` | the same microsecond each time | lets it tick |
 */
export const CLOCKS = ['running', 'behind', 'frozen'] as const

/** A kind of clock. */
export type ClockKind = (typeof CLOCKS)[number]

const BEHIND_US = 10_000_000
const TICK_US = 1000

/** The clock of Redis, as those see it who pick up jobs. */
export class Clock {
  readonly kind: ClockKind
  private offsetUs = 0
  private frozenUs: number | undefined

  constructor(kind: ClockKind) {
    this.kind = kind
  }

  /** What Redis says for a time of its own (µs). */
  read(nowUs: number): number {
    if (this.kind !== 'frozen') return nowUs - this.offsetUs
    this.frozenUs ??= nowUs
    return this.frozenUs
  }

  /** Another server is the primary now. */
  failOver(): void {
    if (this.kind === 'behind') this.offsetUs += BEHIND_US
    if (this.frozenUs !== undefined) this.frozenUs += TICK_US
  }
}

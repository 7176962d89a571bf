import type { LogEntry } from '../../../src/stream/entry.ts'

/** A write that Redis has executed. */
export interface Landing {
  readonly who: string
  readonly entries: readonly LogEntry[]
  /** How often the past had been taken away before. */
  readonly era: number
}

/** What has ever landed in the job's stream, and how often its past was taken away (failover, expiry). */
export class Landings {
  readonly all: Landing[] = []
  era = 0

  add(who: string, entries: readonly LogEntry[]): void {
    this.all.push({ who, entries, era: this.era })
  }

  /** Whether somebody else has written since a landing. */
  byOthersSince(index: number, who: string): boolean {
    return this.all.slice(index).some((landing) => landing.who !== who)
  }

  /** Every id that was ever in the stream. */
  get ids(): string[] {
    return [...new Set(this.all.flatMap((landing) => landing.entries.map((entry) => entry.id)))]
  }
}

import type { PoolError } from '../contract/error.ts'

/** What to run. */
export interface BatchOptions {
  readonly redisUrl: string
  readonly pool: string
  readonly prefix: string
  /** A file; it is read twice, so no pipe. */
  readonly input: string
  readonly out: string
  /** How many jobs may be in Redis at once. @defaultValue by slots and pace (window.ts) */
  readonly window?: number | undefined
  /** Run the lines again whose record is an error. */
  readonly retryFailed: boolean
  /** Ends the run at once; jobs stay in the queue. */
  readonly signal: AbortSignal
  readonly report: BatchReport
}

/** What a run reports while it works. */
export interface BatchReport {
  /** The files are read, and jobs begin. The progress stays the same object and changes. */
  onStart(progress: BatchProgress): void
  onFull(error: PoolError): void
  onAway(error: PoolError): void
  onBack(): void
  /** Jobs cannot be erased from Redis: their events stay until they expire. */
  onKept(error: PoolError): void
}

/** How far a run is, records of earlier runs included. */
export interface BatchProgress {
  /** Lines that are not blank. */
  readonly total: number
  /** Lines on record with an answer. */
  readonly answered: number
  /** Lines on record with an error. */
  readonly failed: number
  /** The same by code. */
  readonly codes: ReadonlyMap<string, number>
  /** Lines without a record. */
  readonly left: number
  /** Lines that this run has recorded, a second. */
  readonly perSecond: number
}

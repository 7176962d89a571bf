import type { PoolError } from '../contract/error.ts'

/** Options of a run. */
export interface BatchOptions {
  readonly redisUrl: string
  readonly pool: string
  readonly prefix: string
  /** A regular file, because it is read twice. */
  readonly input: string
  readonly out: string
  /** How many jobs may be in Redis at once. @defaultValue by slots and pace (window.ts) */
  readonly window?: number | undefined
  /** Rerun the lines whose record is an error. */
  readonly retryFailed: boolean
  /** Ends the run at once; jobs stay in the queue. */
  readonly signal: AbortSignal
  readonly report: BatchReport
}

/** Callbacks of a run. */
export interface BatchReport {
  /** The files have been read, and jobs start. The progress object is updated in place. */
  onStart(progress: BatchProgress): void
  onFull(error: PoolError): void
  onAway(error: PoolError): void
  onBack(): void
  /** Jobs cannot be erased from Redis: their events stay until they expire. */
  onKept(error: PoolError): void
}

/** The progress of a run, including records of earlier runs. */
export interface BatchProgress {
  /** Lines that are not blank. */
  readonly total: number
  /** Lines with a recorded answer. */
  readonly answered: number
  /** Lines with a recorded error. */
  readonly failed: number
  /** The same by code. */
  readonly codes: ReadonlyMap<string, number>
  /** Lines without a record. */
  readonly left: number
  /** Lines that this run records per second. */
  readonly perSecond: number
}

import type { JobInput } from '../../src/contract/job.ts'
import type { CancelEvidence, Reading } from './evidence.ts'

/** A job of this run: what its producer and consumers write down. */
export interface TrackedJob {
  readonly n: number
  /** Its own, or the one that it was given when it was accepted. */
  jobId: string
  /** It is enqueued without an id: whoever gets no answer puts in another job. */
  readonly isNameless: boolean
  readonly body: JobInput
  /** It is cancelled so long after it was accepted (ms). */
  readonly cancelAfterMs: number | undefined
  /** When its producer was told so (ms since 1970). */
  acceptedAt: number | undefined
  cancelAsked: boolean
  cancel: CancelEvidence | undefined
  readonly readings: Reading[]
  /** When a consumer was given the terminal event, at the earliest (ms since 1970). */
  sealSeenAt: number | undefined
}

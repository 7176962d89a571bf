import type { JobInput } from '../../src/contract/job.ts'
import type { CancelEvidence, Reading } from './evidence.ts'

/** A job of this run: what its producer and consumers write down. */
export interface TrackedJob {
  readonly n: number
  readonly jobId: string
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

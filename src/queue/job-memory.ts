import { findJsonFlaw } from '../contract/json-text.ts'
import type { RawJob } from './raw-job.ts'

/** What the queue remembers of a job between its attempts, in BullMQ's `progress`. */
export interface Memory {
  readonly handBacks: number
  /** What is stored for it, which a producer may have written; NaN if that is no count. */
  readonly storedHandBacks: number
  readonly failedWith: readonly string[]
}

/** Most marks that a job keeps; the oldest are dropped. */
export const MAX_MARKS = 8
/** As worker/apart.ts makes them. */
const MARK = /^\d{1,16}\.[\w-]{1,32}[!?]?$/
/** The longest memory (characters), several times what workers write. */
const MAX_LENGTH = 4096
const NOTHING: Memory = { handBacks: 0, storedHandBacks: 0, failedWith: [] }
const UNREADABLE: Memory = { ...NOTHING, storedHandBacks: NaN }

/**
 * Reads what workers remember of a job. A producer may have written it: what no worker can have written counts as nothing. A job
 * cannot have been handed back more often than it was taken before.
 */
export function readMemory({ progress, takes }: Pick<RawJob, 'progress' | 'takes'>): Memory {
  if (progress === undefined) return NOTHING
  if (progress.length > MAX_LENGTH || findJsonFlaw(progress) !== undefined) return UNREADABLE
  const value: unknown = JSON.parse(progress)
  if (typeof value !== 'object' || value === null) return UNREADABLE
  const { hand_backs: handBacks, failed_with: failedWith } = value as Record<string, unknown>
  return {
    handBacks: isCount(handBacks) ? Math.min(handBacks, takes - 1) : 0,
    storedHandBacks: isCount(handBacks) ? handBacks : NaN,
    failedWith: Array.isArray(failedWith) ? failedWith.filter(isMark).slice(-MAX_MARKS) : [],
  }
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && Number(value) >= 0
}

function isMark(value: unknown): value is string {
  return typeof value === 'string' && MARK.test(value)
}

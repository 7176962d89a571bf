import type { JobEvent } from '../../src/contract/event.ts'
import type { JobInput } from '../../src/contract/job.ts'
import type { ReplicaEntry } from '../../src/contract/replica-entry.ts'
import type { CancelOutcome } from '../../src/stream/seal.ts'

/** A time from one moment to another (ms since 1970); all processes of a run share one clock. */
export interface Interval {
  readonly from: number
  /** Infinite as long as it is not over. */
  to: number
}

/** What one consumer saw of a job, over all its reconnections. */
export interface Reading {
  readonly consumer: string
  /** It began to read after this id. A `restart` makes it the id before the first event. */
  after: string
  /** One fingerprint an event, in the order they came; a `restart` empties it. */
  seen: string[]
  restarts: number
  /** It was told that there is no more. */
  over: boolean
  /** When that was (ms since 1970). */
  overAt?: number | undefined
  /** What it was told instead. */
  fault?: string | undefined
}

/** A cancel whose call has returned. */
export interface CancelEvidence {
  readonly outcome: CancelOutcome
  /** An earlier call got no answer, so that it may have been that one which ended the job. */
  readonly repeated: boolean
  /** How many entries the stream had when the call had returned; unknown when Redis was away then. */
  readonly entries: number | undefined
  /** When it had returned (ms since 1970). */
  readonly at: number
}

/** What a replica that nobody disturbs makes of the same prompt, seed and parameters. */
export interface Undisturbed {
  readonly ids: readonly number[]
  readonly text: string
}

/** All that is known of one accepted job. */
export interface JobEvidence {
  readonly jobId: string
  readonly body: JobInput
  /** Its stream; undefined when there is none. */
  readonly events: readonly JobEvent[] | undefined
  readonly readings: readonly Reading[]
  readonly cancel: CancelEvidence | undefined
  /** The cancel was asked for, whatever came of it. */
  readonly cancelAsked: boolean
  readonly undisturbed: Undisturbed | undefined
  /** The same of what follows each of its seams: the text before it is part of the prompt. */
  readonly afterSeams: readonly Undisturbed[]
  /** When a consumer was given the terminal event live, at the earliest (ms since 1970). */
  readonly sealSeenAt: number | undefined
  /** The pool's bound on attempts. */
  readonly maxAttempts: number
  /** Interrupted answers do not go on: every one of them ends in `WORKER_RESET`. */
  readonly noResume: boolean
  /** What was told and lost by Redis afterwards: it need not be so any more. */
  readonly lost: LostEvidence
}

/** Which of the things that a job's producer and consumers were told Redis has lost. */
export interface LostEvidence {
  readonly acceptance: boolean
  readonly cancel: boolean
  /** The terminal event, as the first consumer saw it. */
  readonly seal: boolean
  /** The names of consumers who were told that it is over. */
  readonly readings: readonly string[]
}

/** A job that was not over though its deadline had passed. */
export interface OverdueEvidence {
  readonly jobId: string
  readonly deadlineAt: number
  /** When it was seen so, by Redis's clock. */
  readonly seenAt: number
}

/** A simulator that had more requests open than its worker has slots. */
export interface OverloadEvidence {
  readonly replicaId: string
  readonly slots: number
  readonly open: number
  readonly at: number
}

/** How everything stood when all had come to rest. */
export interface RestEvidence {
  readonly simulators: readonly {
    readonly replicaId: string
    readonly open: number
    readonly running: number
    readonly queued: number
    readonly permits: number
  }[]
  readonly replicas: readonly ReplicaEntry[]
  readonly leases: readonly { readonly replicaId: string; readonly workerId: string }[]
  /** The ids of the workers that run. */
  readonly workers: readonly string[]
  /** Jobs that the queue still holds: waiting, delayed, active. */
  readonly queued: number
  /** Jobs whose deadline is still watched. */
  readonly deadlines: number
}

/** Something that must not be. */
export interface Violation {
  /** Which check found it. */
  readonly check: Check
  readonly jobId?: string | undefined
  readonly message: string
}

/** What is checked; the numbers are the invariants of the map. */
export type Check =
  | 'lost' // 1: no terminal event, or an error that nothing explains
  | 'double-terminal' // 1
  | 'after-terminal' // 1, 3
  | 'ids' // every id names its attempt and its place in it
  | 'hole' // 2
  | 'repeat' // 2
  | 'after-cancel' // 3
  | 'text' // 4
  | 'reader' // 5
  | 'requests' // 6
  | 'deadline' // 7
  | 'rest' // 8
  | 'resume' // an interrupted answer goes on as its job asked
  | 'answer' // what `end` and `error` say is true
  | 'divergence' // the tokens are those of an undisturbed generation
  | 'counts' // counters and index say what the streams say
  | 'process' // a process ended that nobody had ended

import type { ErrorCode } from './codes.ts'
import { CODES } from './codes.ts'

/**
 * What can go wrong in a caller's hands, beyond the codes that end jobs:
 *
 * - `ID_CONFLICT`: the job id is taken by another body.
 * - `UNKNOWN_JOB`: no such job, or its events have expired and no cursor says it ever existed.
 * - `GONE`: the job's events were here and have expired.
 * - `REDIS_UNAVAILABLE`: Redis does not answer, or refuses us (address, password).
 * - `REPLICA_UNAVAILABLE`: the address does not answer as a TGI server.
 * - `CONFIG`: a flag, a variable or a file is wrong.
 */
const LOCAL_KINDS = {
  ID_CONFLICT: { retriable: false, status: 409 },
  UNKNOWN_JOB: { retriable: false, status: 404 },
  GONE: { retriable: false, status: 410 },
  REDIS_UNAVAILABLE: { retriable: true, status: 503 },
  REPLICA_UNAVAILABLE: { retriable: true, status: 503 },
  CONFIG: { retriable: false, status: 400 },
} as const satisfies Record<string, { retriable: boolean; status: number }>

/** What a {@link PoolError} is about: an error code, or a fault on the caller's side. */
export type ErrorKind = ErrorCode | keyof typeof LOCAL_KINDS

const KINDS = { ...CODES, ...LOCAL_KINDS }

/**
 * The one error class. The message says what, where, got and expected, and holds no prompt and no secret;
 * `cause` keeps what was underneath.
 */
export class PoolError extends Error {
  override readonly name = 'PoolError'
  readonly kind: ErrorKind
  /** Trying the same thing again later can help. */
  readonly retriable: boolean
  /** The status an HTTP door answers with. */
  readonly status: number
  /** This is how a job ended, not a fault of the call. */
  readonly ofJob: boolean
  /** How long to wait before that, when it is known (ms). */
  readonly retryAfterMs: number | undefined

  constructor(
    kind: ErrorKind,
    message: string,
    options: { cause?: unknown; retryAfterMs?: number | undefined; ofJob?: boolean | undefined } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.kind = kind
    this.retriable = KINDS[kind].retriable
    this.status = KINDS[kind].status
    this.ofJob = options.ofJob ?? false
    this.retryAfterMs = options.retryAfterMs
  }
}

import type { ErrorCode } from './codes.ts'
import { AT_THE_DOOR, CODES } from './codes.ts'

/**
 * Errors of calls, in addition to the codes that end jobs:
 *
 * - `ID_CONFLICT`: the job id is taken by a job with a different body.
 * - `UNKNOWN_JOB`: no such job, or its events have expired and no cursor proves that it existed.
 * - `UNKNOWN_REPLICA`: no worker has registered such a replica in the pool.
 * - `POOL_IN_USE`: the pool cannot be deleted while workers serve it.
 * - `GONE`: the job's events were here and have expired.
 * - `REDIS_UNAVAILABLE`: Redis does not answer, or refuses us (address, password).
 * - `REPLICA_UNAVAILABLE`: no TGI server answers at the address.
 * - `CONFIG`: a flag, a variable or a file is wrong.
 *
 * Over HTTP also:
 *
 * - `NOT_FOUND`, `METHOD_NOT_ALLOWED`: no such route; the route does not take the method.
 * - `UNAUTHORIZED`, `FORBIDDEN`: the bearer key is missing or wrong; the request's `Origin` or `Host` is not allowed.
 * - `INSUFFICIENT_SCOPE`: the bearer key lacks the required scope.
 * - `TOO_LARGE`, `HEADERS_TOO_LARGE`, `REQUEST_TIMEOUT`: the body or the headers are too large, or took too long to arrive.
 * - `UNSUPPORTED_MEDIA_TYPE`: the body is not plain JSON.
 * - `OVERLOADED`: this process has reached its limit of open streams, or is stopping.
 * - `TOO_MANY_STREAMS`: the caller has reached its limit of open streams.
 */
export const LOCAL_KINDS = {
  ID_CONFLICT: { retriable: false, status: 409 },
  UNKNOWN_JOB: { retriable: false, status: 404 },
  UNKNOWN_REPLICA: { retriable: false, status: 404 },
  POOL_IN_USE: { retriable: false, status: 409 },
  GONE: { retriable: false, status: 410 },
  REDIS_UNAVAILABLE: { retriable: true, status: 503 },
  REPLICA_UNAVAILABLE: { retriable: true, status: 503 },
  CONFIG: { retriable: false, status: 400 },
  NOT_FOUND: { retriable: false, status: 404 },
  METHOD_NOT_ALLOWED: { retriable: false, status: 405 },
  UNAUTHORIZED: { retriable: false, status: 401 },
  FORBIDDEN: { retriable: false, status: 403 },
  INSUFFICIENT_SCOPE: { retriable: false, status: 403 },
  TOO_LARGE: { retriable: false, status: 413 },
  HEADERS_TOO_LARGE: { retriable: false, status: 431 },
  REQUEST_TIMEOUT: { retriable: true, status: 408 },
  UNSUPPORTED_MEDIA_TYPE: { retriable: false, status: 415 },
  OVERLOADED: { retriable: true, status: 503 },
  TOO_MANY_STREAMS: { retriable: true, status: 429 },
} as const satisfies Record<string, { retriable: boolean; status: number }>

/** The kind of a {@link PoolError}: a code that ends jobs, or one for calls only. */
export type ErrorKind = ErrorCode | keyof typeof LOCAL_KINDS

const OF_CALLS = { ...CODES, ...AT_THE_DOOR, ...LOCAL_KINDS }
const OF_JOBS = { ...OF_CALLS, ...CODES }

/**
 * The one error class. The message says what, where, got and expected, and holds no prompt and no secret;
 * `cause` holds the original error.
 */
export class PoolError extends Error {
  /** Always `PoolError`. */
  override readonly name = 'PoolError'
  /** What went wrong: decide by this, not by the message. */
  readonly kind: ErrorKind
  /** Whether a retry can succeed. */
  readonly retriable: boolean
  /** The HTTP status for this error. */
  readonly status: number
  /** Whether this is how a job ended, and not a fault of the call. */
  readonly ofJob: boolean
  /** How long to wait before a retry (ms); undefined if unknown. */
  readonly retryAfterMs: number | undefined

  constructor(
    kind: ErrorKind,
    message: string,
    options: { cause?: unknown; retryAfterMs?: number | undefined; ofJob?: boolean | undefined } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.kind = kind
    this.ofJob = options.ofJob ?? false
    const { retriable, status } = (this.ofJob ? OF_JOBS : OF_CALLS)[kind]
    this.retriable = retriable
    this.status = status
    this.retryAfterMs = options.retryAfterMs
  }
}

/**
 * Every way a job can end without its answer, in one table: what an `error` event's `code` may be, whether
 * trying again can help, and the HTTP status that belongs to it.
 *
 * | code | when |
 * |---|---|
 * | `INVALID_PARAMS` | we or the replica refuse the body |
 * | `DEADLINE_UNMET` | the deadline passed before the first `started`; at enqueue: it would pass |
 * | `DECODE_TIMEOUT` | the deadline passed after it |
 * | `ADMISSION_REJECT` | the queue's bound, or that of Redis's memory, is reached: refused |
 * | `QUEUE_FULL_DROP_LRU` | reserved: dropped for a newer job |
 * | `POOL_UNREADY` | reserved: no replica may take it now |
 * | `POOL_UNAVAILABLE` | unknown or closed pool |
 * | `REPLICA_EXHAUSTED` | attempts used up on refusals and faults before any token |
 * | `WORKER_RESET` | interrupted after tokens and may not go on |
 * | `REPLAY_DIVERGED` | a replay did not repeat the tokens that were published |
 * | `CANCELLED` | a client cancelled it |
 * | `INTERNAL` | our fault |
 */
export const CODES = {
  INVALID_PARAMS: { retriable: false, status: 400 },
  DEADLINE_UNMET: { retriable: false, status: 504 },
  DECODE_TIMEOUT: { retriable: true, status: 504 },
  ADMISSION_REJECT: { retriable: true, status: 429 },
  QUEUE_FULL_DROP_LRU: { retriable: true, status: 429 },
  POOL_UNREADY: { retriable: true, status: 503 },
  // A wrong name is the caller's fault, but retriable: a worker may create the pool in a moment.
  POOL_UNAVAILABLE: { retriable: true, status: 404 },
  REPLICA_EXHAUSTED: { retriable: true, status: 503 },
  WORKER_RESET: { retriable: true, status: 502 },
  REPLAY_DIVERGED: { retriable: true, status: 502 },
  CANCELLED: { retriable: false, status: 499 },
  INTERNAL: { retriable: true, status: 500 },
} as const satisfies Record<string, { retriable: boolean; status: number }>

/** Codes that mean something else when they refuse an enqueue than when they end a job: nothing was accepted. */
export const AT_THE_DOOR = {
  DEADLINE_UNMET: { retriable: true, status: 429 },
} as const satisfies Partial<Record<keyof typeof CODES, { retriable: boolean; status: number }>>

/** The `code` of an `error` event. */
export type ErrorCode = keyof typeof CODES

/** All codes, for schemas. */
export const ERROR_CODES = Object.keys(CODES) as [ErrorCode, ...ErrorCode[]]

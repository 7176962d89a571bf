/**
 * Every way a job can end without its answer, in one table: the `code` of its `error` event, whether
 * a retry can help, and the HTTP status.
 *
 * | code | when |
 * |---|---|
 * | `INVALID_PARAMS` | we or the replica refuse the body |
 * | `DEADLINE_UNMET` | the deadline passed before the first `started`; at enqueue: it would pass |
 * | `DECODE_TIMEOUT` | the deadline passed after it |
 * | `ADMISSION_REJECT` | refused: the queue, or Redis's memory, is full |
 * | `QUEUE_FULL_DROP_LRU` | reserved: dropped for a newer job |
 * | `POOL_UNREADY` | reserved: no replica can take it now |
 * | `POOL_UNAVAILABLE` | unknown or closed pool |
 * | `REPLICA_EXHAUSTED` | all attempts failed before any token |
 * | `WORKER_RESET` | interrupted after tokens and cannot be continued |
 * | `REPLAY_DIVERGED` | a replay did not repeat the tokens that were published |
 * | `CANCELLED` | a client cancelled it |
 * | `INTERNAL` | a bug in tgi-pool |
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

/** Codes that differ when they refuse an enqueue, since no job was accepted, from when they end a job. */
export const AT_THE_DOOR = {
  DEADLINE_UNMET: { retriable: true, status: 429 },
} as const satisfies Partial<Record<keyof typeof CODES, { retriable: boolean; status: number }>>

/** The `code` of an `error` event. */
export type ErrorCode = keyof typeof CODES

/** All codes, for schemas. */
export const ERROR_CODES = Object.keys(CODES) as [ErrorCode, ...ErrorCode[]]

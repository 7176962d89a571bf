import { PoolError } from './error.ts'
import type { Job } from './job.ts'
import type { PoolConfig } from './pool-config.ts'
import { MAX_BODY_BYTES } from './shape.ts'

/** A replica with at least this many slots reserves one for interactive jobs, unless its pool sets another number. */
const RESERVES_FROM = 4

/** How many of the slots batch jobs may not use; never all of them, or no batch job would ever run. */
export function reservedSlots(
  { reserved_slots: wished }: Pick<PoolConfig, 'reserved_slots'>,
  slots: number,
): number {
  return Math.max(0, Math.min(wished ?? (slots >= RESERVES_FROM ? 1 : 0), slots - 1))
}

/** The longest grace time of a drain (ms): what a timer of Node holds, 24 days. */
export const MAX_GRACE_MS = 2 ** 31 - 1

/** What a queue adds to a body: its version and a correlation id (bytes). */
const ADDED_BYTES = 256

/**
 * Refuses a body that no worker would read.
 *
 * @param bytes of its JSON.
 */
export function checkBodySize(bytes: number): void {
  const most = MAX_BODY_BYTES - ADDED_BYTES
  if (bytes <= most) return
  throw new PoolError('INVALID_PARAMS', `job: expected at most ${most} bytes of JSON, got ${bytes}`)
}

/** What a job asks for once the pool's defaults are in. */
export interface JobBudget {
  readonly deadlineMs: number
  readonly maxNewTokens: number
}

/**
 * Holds a job against its pool's limits.
 *
 * @throws {@link PoolError} `INVALID_PARAMS` that names the limit. Prompt tokens are counted by the replica
 * itself, before its GPU; here only a prompt that no replica would read is refused.
 */
export function budgetOf(job: Job, config: PoolConfig): JobBudget {
  const usual = job.priority === 'batch' ? config.batch_deadline_ms : config.deadline_ms
  // The limit is on what a job asks for; a job that asks for nothing must not be refused for its pool's settings.
  const deadlineMs = job.deadline_ms ?? Math.min(usual, config.max_deadline_ms)
  const maxNewTokens = job.parameters.max_new_tokens ?? config.max_new_tokens
  check('deadline_ms', deadlineMs, config.max_deadline_ms, 'max_deadline_ms')
  if (job.retention_ms !== undefined)
    check('retention_ms', job.retention_ms, config.max_retention_ms, 'max_retention_ms')
  check('parameters.max_new_tokens', maxNewTokens, config.max_max_new_tokens, 'max_max_new_tokens')
  const { fields, bytes } = inputOf(job)
  check(`${fields} (bytes)`, bytes, config.max_input_bytes, 'max_input_bytes')
  return { deadlineMs, maxNewTokens }
}

/** All that a caller may write at length: the replica reads each of them before it knows whether it takes the job. */
function inputOf({ inputs, messages, parameters }: Job): { readonly fields: string; readonly bytes: number } {
  const { stop, grammar } = parameters
  const given = Object.entries({ inputs, messages, stop, grammar }).filter(
    ([, value]) => value !== undefined && value !== null,
  )
  const sizes = given.map(([, value]) =>
    Buffer.byteLength(typeof value === 'string' ? value : JSON.stringify(value)),
  )
  return {
    fields: given.map(([field]) => field).join(' + '),
    bytes: sizes.reduce((sum, size) => sum + size, 0),
  }
}

function check(field: string, got: number, limit: number, name: string): void {
  if (got <= limit) return
  throw new PoolError(
    'INVALID_PARAMS',
    `job: ${field}: expected at most ${limit} (the pool's ${name}), got ${got}`,
  )
}

/** The most jobs on one page of a list. */
export const MAX_PAGE = 1000

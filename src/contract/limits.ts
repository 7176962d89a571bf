import { PoolError } from './error.ts'
import type { Job } from './job.ts'
import type { PoolConfig } from './pool-config.ts'

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
  const deadlineMs = job.deadline_ms ?? config.deadline_ms
  const maxNewTokens = job.parameters.max_new_tokens ?? config.max_new_tokens
  check('deadline_ms', deadlineMs, config.max_deadline_ms, 'max_deadline_ms')
  check('parameters.max_new_tokens', maxNewTokens, config.max_max_new_tokens, 'max_max_new_tokens')
  const prompt = job.inputs ?? JSON.stringify(job.messages)
  const field = job.inputs === undefined ? 'messages' : 'inputs'
  check(`${field} (bytes)`, Buffer.byteLength(prompt), config.max_input_bytes, 'max_input_bytes')
  return { deadlineMs, maxNewTokens }
}

function check(field: string, got: number, limit: number, name: string): void {
  if (got <= limit) return
  throw new PoolError(
    'INVALID_PARAMS',
    `job: ${field}: expected at most ${limit} (the pool's ${name}), got ${got}`,
  )
}

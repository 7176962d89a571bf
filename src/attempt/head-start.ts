import type { PoolConfig } from '../contract/pool-config.ts'
import type { TgiClient } from '../tgi/client.ts'
import type { TgiToken } from '../tgi/answer.ts'
import type { Generation } from '../tgi/generate.ts'
import type { GivenJob } from './given-job.ts'

/** A request that is out before its attempt has begun; no token of its answer is emitted before it is taken over. */
export interface HeadStart {
  /** When the request was made (performance.now()). */
  readonly requestedAt: number
  /** Goes on as the attempt's own; once. */
  take(onToken: (token: TgiToken) => void): Generation
  /** Aborts it; does nothing after {@link take}. */
  drop(): void
}

/**
 * Sends the request of a job that has not begun, as far as its queue knows, while its stream is read: on an idle pool
 * that is a sixth of the time to a first token (bench/first-byte.ts). If the stream shows otherwise, it is dropped.
 */
export function startEarly(
  { job, budget, seed }: GivenJob,
  { client, config }: { readonly client: TgiClient; readonly config: PoolConfig },
  signal: AbortSignal,
): HeadStart | undefined {
  // A chat has to be rendered first.
  if (job.inputs === undefined) return undefined
  const dropped = new AbortController()
  let emit: ((token: TgiToken) => void) | undefined
  const requestedAt = performance.now()
  const generation = client.generate(
    { inputs: job.inputs, parameters: job.parameters, seed, maxNewTokens: budget.maxNewTokens },
    {
      signal: AbortSignal.any([signal, dropped.signal]),
      onToken(token) {
        if (emit === undefined) throw new Error('a token before the request was taken over')
        emit(token)
      },
      firstTokenTimeoutMs: config.first_token_timeout_ms,
      tokenTimeoutMs: config.token_timeout_ms,
    },
  )
  generation.pause()
  // It may fail before it is taken over; `take` then returns the failed generation.
  generation.done.catch(() => undefined)
  return {
    requestedAt,
    take(onToken) {
      emit = onToken
      generation.resume()
      return generation
    },
    drop() {
      if (emit === undefined) dropped.abort()
    },
  }
}

import type { Limits } from './budget.ts'
import type { Description, Registry } from './exposition.ts'
import { createRegistry } from './exposition.ts'

/** Buckets of everything that ends in `duration`: 0.0001 × 1.5^k (router/src/server.rs, TGI 3.3.7). */
export const DURATION_BOUNDS: readonly number[] = (() => {
  const bounds: number[] = []
  for (let value = 0.0001; bounds.length < 35;) bounds.push((value *= 1.5))
  return bounds
})()

/** A hundred buckets up to a replica's own limit, so no two differently sized replicas share them. */
function tokenBounds(limit: number): readonly number[] {
  return Array.from({ length: 100 }, (_, index) => (limit / 100) * (index + 1))
}

const duration = (help: string): Description => ({ type: 'histogram', help, bounds: DURATION_BOUNDS })
const tokens = (help: string, limit: number): Description => ({
  type: 'histogram',
  help,
  bounds: tokenBounds(limit),
})

/**
 * TGI's metrics, by TGI's names and with its units; the ones that concern a GPU's kernels (`tgi_batch_forward_duration` and
 * such) are missing, for there is none. Failures carry no HELP, there as here.
 */
export function createMetrics(limits: Limits): Registry {
  return createRegistry({
    tgi_request_count: { type: 'counter', help: 'Total number of requests' },
    tgi_request_success: { type: 'counter', help: 'Number of successful requests' },
    tgi_request_failure: { type: 'counter' },
    tgi_request_duration: duration('Request duration'),
    tgi_request_validation_duration: duration('Time spent validating a request'),
    tgi_request_queue_duration: duration('Time spent in the queue by a request'),
    tgi_request_inference_duration: duration('Time spent in inference by a request'),
    tgi_request_mean_time_per_token_duration: duration('Mean time per token of a request'),
    tgi_request_generated_tokens: tokens('Generated tokens per request', limits.maxTotalTokens),
    tgi_request_input_length: tokens('Input tokens per request', limits.maxInputTokens),
    tgi_request_max_new_tokens: tokens('Maximum new tokens per request', limits.maxTotalTokens),
    tgi_request_skipped_tokens: { type: 'summary', help: 'Speculated tokens per request' },
    tgi_queue_size: { type: 'gauge', help: 'Requests waiting in the queue' },
    tgi_batch_current_size: { type: 'gauge', help: 'Requests in the running batch' },
    tgi_batch_next_size: {
      type: 'histogram',
      help: 'Requests in each new batch',
      bounds: Array.from({ length: 1024 }, (_, index) => index + 1),
    },
  })
}

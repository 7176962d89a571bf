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

const duration = (help?: string): Description => ({ type: 'histogram', help, bounds: DURATION_BOUNDS })
const tokens = (help: string, limit: number): Description => ({
  type: 'histogram',
  help,
  bounds: tokenBounds(limit),
})

/** A call of the shard. */
export type ShardMethod = 'prefill' | 'decode'

/** All 25 of TGI's metrics with TGI's names, units and HELP, if any (router/src/server.rs, TGI 3.3.7). */
export function createMetrics(limits: Limits): Registry {
  return createRegistry({
    tgi_request_count: { type: 'counter', help: 'Total number of requests' },
    tgi_request_success: { type: 'counter', help: 'Number of successful requests' },
    tgi_request_failure: { type: 'counter' },
    tgi_request_duration: duration('Request duration'),
    tgi_request_validation_duration: duration('Request validation duration'),
    tgi_request_queue_duration: duration('Request queue duration'),
    tgi_request_inference_duration: duration('Request inference duration'),
    tgi_request_mean_time_per_token_duration: duration('Mean time per token per request'),
    tgi_request_generated_tokens: tokens('Generated tokens per request', limits.maxTotalTokens),
    tgi_request_input_length: tokens('Input token length per request', limits.maxInputTokens),
    tgi_request_max_new_tokens: tokens('Maximum new tokens per request', limits.maxTotalTokens),
    tgi_request_skipped_tokens: { type: 'summary', help: 'Speculated tokens per request' },
    tgi_queue_size: { type: 'gauge', help: 'Current queue size' },
    tgi_batch_current_size: { type: 'gauge', help: 'Current batch size' },
    tgi_batch_current_max_tokens: { type: 'gauge', help: 'Maximum tokens for the current batch' },
    tgi_batch_next_size: {
      type: 'histogram',
      help: 'Batch size of the next batch',
      bounds: Array.from({ length: 1024 }, (_, index) => index + 1),
    },
    tgi_batch_concat: { type: 'counter' },
    tgi_batch_concat_duration: duration(),
    tgi_batch_inference_count: {
      type: 'counter',
      help: 'Inference calls per method (prefill or decode)',
    },
    tgi_batch_inference_success: {
      type: 'counter',
      help: 'Number of successful inference calls per method (prefill or decode)',
    },
    tgi_batch_inference_failure: { type: 'counter' },
    tgi_batch_inference_duration: duration('Batch inference duration'),
    tgi_batch_forward_duration: duration('Batch forward duration per method (prefill or decode)'),
    tgi_batch_decode_duration: duration('Time spent decoding a batch per method (prefill or decode)'),
    tgi_batch_filter_duration: duration(
      'Time spent filtering batches and sending generated tokens per method (prefill or decode)',
    ),
  })
}

/**
 * Counts `times` successful calls of the shard, each of `seconds`. All of the time is attributed to the forward pass; decoding and
 * filtering take none here.
 */
export function countCalls(metrics: Registry, method: ShardMethod, seconds: number, times = 1): void {
  const labels = { method }
  metrics.record('tgi_batch_inference_count', times, labels)
  metrics.record('tgi_batch_inference_success', times, labels)
  metrics.record('tgi_batch_inference_duration', seconds, labels, times)
  metrics.record('tgi_batch_forward_duration', seconds, labels, times)
  metrics.record('tgi_batch_decode_duration', 0, labels, times)
  metrics.record('tgi_batch_filter_duration', 0, labels, times)
}

/** Counts a batch that joined a running one. TGI labels the duration `decode`, whatever the call was. */
export function countConcat(metrics: Registry): void {
  metrics.record('tgi_batch_concat', 1, { reason: 'chunking' })
  metrics.record('tgi_batch_concat_duration', 0, { method: 'decode' })
}

/** Counts a call of the shard that failed. */
export function countFailedCall(metrics: Registry, method: ShardMethod): void {
  metrics.record('tgi_batch_inference_count', 1, { method })
  metrics.record('tgi_batch_inference_failure', 1, { method })
}

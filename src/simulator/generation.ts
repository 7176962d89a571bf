import { Decoding } from './decoding.ts'
import type { Fault, FaultKind } from './faults.ts'
import type { FrameOptions } from './frames.ts'
import { countFailedCall } from './metrics.ts'
import type { Replica } from './replica.ts'
import type { GenerateRequest } from './request.ts'
import { validate } from './validate.ts'

/** Faults taken for one request, by kind. */
export type Hits = ReadonlyMap<FaultKind, Fault>

/** Faults that strike a request before anything else about it is looked at. */
export const DOOR_FAULTS = [
  'hang-headers',
  'http-401',
  'http-500',
  'http-429',
  'http-502',
  'http-503',
] as const satisfies readonly FaultKind[]

/** Faults that strike while it is answered. */
export const ANSWER_FAULTS = [
  'overloaded',
  'keep-alives',
  'slow-prefill',
  'crash',
  'stall',
  'freeze',
  'generation-error',
  'incomplete',
  'no-final-event',
  'malformed',
  'cut',
  'merge',
  'no-space',
  'null-logprob',
  'negative-zero-logprob',
  'empty-generated-text',
  'long-token',
  'top-tokens',
  'escapes',
] as const satisfies readonly FaultKind[]

const ENDINGS = [
  'crash',
  'stall',
  'freeze',
  'generation-error',
  'incomplete',
  'no-final-event',
] as const satisfies readonly FaultKind[]

/** A fault that ends or halts an answer. */
export type EndingKind = (typeof ENDINGS)[number]

/** Looks up the fault that is to end an answer once so many tokens are out; `undefined` most of the time. */
export function endingAfter(hits: Hits): (tokens: number) => EndingKind | undefined {
  const endings = ENDINGS.flatMap((kind) => {
    const fault = hits.get(kind)
    // Without `after` this one waits for the last event, to swallow it.
    if (fault === undefined || (kind === 'no-final-event' && fault.after === undefined)) return []
    return [{ kind, after: fault.after ?? 0 }]
  })
  return (tokens) => endings.find(({ after }) => tokens >= after)?.kind
}

/** What a generating shard says when it breaks (made up in the style of a CUDA error). */
export const SHARD_ERROR =
  'Request failed during generation: Server error: CUDA error: an illegal memory access was encountered'

/** How a request's tokens are to be told. */
export function frameOptions({ inputs, parameters }: GenerateRequest, hits: Hits): FrameOptions {
  const logprob = hits.has('null-logprob') ? 'null' : hits.has('negative-zero-logprob') ? '-0.0' : undefined
  return {
    details: parameters.details,
    topTokens: hits.has('top-tokens')
      ? (hits.get('top-tokens')?.count ?? 100)
      : (parameters.top_n_tokens ?? 0),
    prefix: parameters.return_full_text === true ? inputs : '',
    quirks: {
      logprob,
      emptyText: hits.has('empty-generated-text'),
      noSpace: hits.has('no-space'),
      textOf: oddText(hits),
    },
  }
}

/** What terminals obey, cut where a filter that looks at one piece would miss it. */
const ESCAPES = [
  '\u001b',
  ']52;c;aGk=',
  '\u0007',
  '\u009b',
  '31m',
  '\u202e',
  '\u2066',
  '\b\u007f',
  'x\r',
  '\u001b[',
  '2J',
]

/** The texts that faults put in place of the tokens' own. */
function oddText(hits: Hits): ((tokens: number) => string | undefined) | undefined {
  const long = hits.get('long-token')
  if (long !== undefined)
    return (tokens) => (tokens === (long.after ?? 0) + 1 ? 'x'.repeat(long.count ?? 100_000) : undefined)
  return hits.has('escapes') ? (tokens) => ESCAPES[(tokens - 1) % ESCAPES.length] : undefined
}

/** How long a request's prefill takes (ms). */
export function prefillMs(replica: Replica, hits: Hits): number {
  const fault = hits.get('slow-prefill')
  return fault === undefined ? replica.settings.prefillMs : (fault.ms ?? 3000)
}

/** Counts a failure, as `tgi_request_failure{err}`. */
export function countFailure(replica: Replica, err: string): void {
  replica.metrics.record('tgi_request_failure', 1, { err })
}

/** Counts a request that the shard failed, and makes `/health` test the shard. `tokens`: how many it had made. */
export function countShardFailure(replica: Replica, tokens: number): void {
  countFailure(replica, 'generation')
  countFailedCall(replica.metrics, tokens === 0 ? 'prefill' : 'decode')
  replica.isSuspect = true
}

/** Counts a complete answer. `receivedAtMs` is on the simulator's clock. */
export function countSuccess(replica: Replica, receivedAtMs: number): void {
  replica.metrics.record('tgi_request_success', 1)
  replica.metrics.record('tgi_request_duration', (replica.settings.clock.now() - receivedAtMs) / 1000)
}

/** Validates a request that holds its permit: what to decode, or the message TGI refuses it with. Both are counted. */
export function prepare(replica: Replica, request: GenerateRequest, receivedAtMs: number): Decoding | string {
  const { limits, metrics, settings } = replica
  const slice = validate(request, limits)
  if (typeof slice === 'string') {
    countFailure(replica, 'validation')
    return `Input validation error: ${slice}`
  }
  metrics.record('tgi_request_input_length', slice.inputTokens)
  metrics.record('tgi_request_max_new_tokens', slice.length)
  metrics.record('tgi_request_validation_duration', (settings.clock.now() - receivedAtMs) / 1000)
  return new Decoding({
    request,
    slice,
    diverges: settings.batchDivergence,
    readsTokens: settings.readsTokens,
    maxInputTokens: limits.maxInputTokens,
    maxTotalTokens: limits.maxTotalTokens,
  })
}

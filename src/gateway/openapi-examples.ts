import { PoolError } from '../contract/error.ts'
import type { ErrorKind } from '../contract/error.ts'
import { errorEnvelope } from '../http/envelope.ts'

/** A generated job id. */
export const EXAMPLE_JOB_ID = '3f2c9a3e-6f0b-4d52-9b7e-2f1d7c1f9a10'

/** A small job. */
export const JOB_EXAMPLE = {
  pool: 'main',
  inputs: 'Why is the sky blue?',
  parameters: { max_new_tokens: 8, seed: 42 },
}

/** A chat. */
export const CHAT_EXAMPLE = {
  pool: 'main',
  messages: [{ role: 'user', content: 'Why is the sky blue?' }],
  priority: 'batch',
  deadline_ms: 60_000,
}

/** A cancel with a reason. */
export const CANCEL_EXAMPLE = { reason: 'seen enough' }

/** A job that ended in time. */
export const FINISHED_EXAMPLE = {
  job_id: EXAMPLE_JOB_ID,
  pool_id: 'main',
  state: 'ended',
  last_id: '9007199254740991-1',
  accepted_at: 1_763_812_345_670,
  deadline_at: 1_763_812_945_670,
  attempts: 1,
  replica_id: 'gpu-1',
  tokens_out: 8,
  end: {
    finish_reason: 'length',
    tokens_in: 6,
    tokens_out: 8,
    queue_time_ms: 2,
    first_token_ms: 61,
    decode_time_ms: 140,
    seed: 42,
    text: ' The sky is blue because air scatters blue',
    attempts: 1,
    exact: true,
  },
  pool: 'main',
  events: `/v1/jobs/${EXAMPLE_JOB_ID}/events?pool=main`,
}

interface ErrorExamples {
  readonly description: string
  readonly examples: Readonly<Record<string, { readonly value: unknown }>>
}

function examples(description: string, of: Partial<Record<ErrorKind, string>>): ErrorExamples {
  return {
    description,
    examples: Object.fromEntries(
      Object.entries(of).map(([kind, message]) => [
        kind,
        { value: errorEnvelope(new PoolError(kind as ErrorKind, message)) },
      ]),
    ),
  }
}

/** What errors look like, by status. */
export const ERROR_EXAMPLES = {
  400: examples('The request is wrong', {
    INVALID_PARAMS: 'job: parameters.max_new_tokens: Too small: expected number to be >=1, got 0',
  }),
  401: examples('The bearer key is missing or wrong', {
    UNAUTHORIZED: 'Authorization: expected Bearer and a key from the key file, got nothing',
  }),
  403: examples('The `Origin` or `Host` is not allowed, or the key lacks the scope', {
    FORBIDDEN: 'Origin: pages of this origin may not call; see TGI_POOL_CORS_ORIGINS',
    INSUFFICIENT_SCOPE:
      'this request needs the scope operate, which its bearer key lacks. Put a name and the scope before the key in the key file: name+operate key',
  }),
  404: examples('No such job, pool or replica', {
    POOL_UNAVAILABLE: 'no pool "mian" (there are: main)',
    UNKNOWN_REPLICA: 'no replica gpu-9 in pool main (there are: gpu-1)',
    UNKNOWN_JOB: `no job ${EXAMPLE_JOB_ID} in pool main, or its events have expired`,
  }),
  408: examples('The request arrived too slowly', { REQUEST_TIMEOUT: 'the request came too slowly' }),
  409: examples('The id belongs to another job, or to jobs of several pools; or workers serve the pool', {
    POOL_IN_USE:
      'pool main is in use: workers hold replica gpu-1. Let running jobs end (tgi-pool drain gpu-1 --wait --pool main), stop the workers, then delete the pool',
    ID_CONFLICT: `job id ${EXAMPLE_JOB_ID} in pool main belongs to a job with another body; nothing was changed. Use another id, or the same body`,
  }),
  410: examples('The events were here and have expired', {
    GONE: `the events of job ${EXAMPLE_JOB_ID} in pool main are gone: they have expired, or Redis lost them`,
  }),
  413: examples('The body is too large', {
    TOO_LARGE: 'the body: expected at most 2621440 bytes, got more',
  }),
  415: examples('The body is not plain JSON', {
    UNSUPPORTED_MEDIA_TYPE: 'Content-Type: expected application/json (UTF-8), got another or none',
  }),
  429: examples(
    'Not now: the queue is full, the job would start after its deadline, or the caller has too many event streams open',
    {
      ADMISSION_REJECT:
        "the queue of pool main is full: 10000 jobs are waiting, the limit is 10000 (the pool's max_queued)",
      DEADLINE_UNMET:
        'pool main: a job enqueued now would start in about 900 s, after its deadline of 600 s (700 jobs are ahead of it; forecast from the last 120 jobs). Give it a longer deadline_ms or priority batch, start more workers, or try again later',
      TOO_MANY_STREAMS:
        'this caller has reached its limit of 5000 open event streams on this gateway; close some, or use another gateway',
    },
  ),
  431: examples('The headers are too large', {
    HEADERS_TOO_LARGE: 'the headers are too large: expected at most 16 KiB in all',
  }),
  500: examples('An error in the gateway', {
    INTERNAL: 'unexpected error; the log has details under req-17',
  }),
  503: examples('Not now', {
    REDIS_UNAVAILABLE: 'Redis does not answer; the operation may still take effect',
    OVERLOADED: 'this gateway has reached its limit of 10000 open event streams',
  }),
} as const satisfies Record<number, ErrorExamples>

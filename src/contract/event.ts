import { z } from 'zod'
import { ERROR_CODES } from './codes.ts'
import { labelSchema, poolIdSchema, replicaIdSchema } from './ids.ts'
import type { Cursor } from './stream-id.ts'

const ms = z.number().int().nonnegative()
const count = z.number().int().nonnegative()

/** The job is accepted. Written by the producer before the job is in the queue. */
const queuedSchema = z.object({
  digest: z.string().describe('SHA-256 of the body as given: tells two bodies under one id apart'),
  accepted_at: ms.describe("ms since 1970, by Redis's clock"),
  deadline_at: ms.describe("ms since 1970, by Redis's clock"),
  queue_position: count.describe('jobs ahead of it then, from 0'),
  predicted_start_ms: ms.optional(),
  priority: z.enum(['interactive', 'batch']).optional().describe('absent in events of older producers'),
})

/** An attempt begins; every older attempt is fenced from here on. */
const startedSchema = z.object({
  attempt: z.number().int().positive(),
  engine: z.literal('tgi'),
  engine_version: z.string(),
  pool_id: poolIdSchema,
  replica_id: replicaIdSchema,
  model_id: z.string(),
  seed: count.describe('what this attempt generates with'),
  queue_time_ms: ms.describe('from acceptance to this'),
  determinism: z.enum(['best_effort', 'strict']),
  window_id: z.string().optional(),
  next_token: count.describe('the index of the token that comes next; readers drop what they hold above it'),
  resume: z
    .object({
      mode: z
        .enum(['continue', 'replay'])
        .describe('goes on from the text so far, or repeats the tokens so far, unpublished, and goes on'),
      exact: z.boolean().describe('no best-effort seam so far and none here'),
      same_tokens: z
        .boolean()
        .optional()
        .describe(
          'with continue: the replica reads all of the text so far as exactly the published tokens, not only those at the seam. If false, even a greedy answer may differ from an uninterrupted one',
        ),
    })
    .optional()
    .describe('how an answer goes on that was interrupted'),
  correlation_id: labelSchema.optional(),
})

const topTokenSchema = z.object({ id: count, t: z.string(), logprob: z.number().nullable() })

/** One LLM token: every one the replica sends, empty and special ones too. */
export const tokenSchema = z.object({
  t: z.string().describe('may be empty: part of a character that a later token completes'),
  i: count.describe('index from 0, without holes or repeats across attempts'),
  id: count,
  logprob: z.number().nullable().describe('null when not finite'),
  first_token_ms: ms.optional().describe('on the first token only: from acceptance to it'),
  special: z.literal(true).optional().describe('not part of the text, e.g. the end-of-sequence token'),
  top: z.array(topTokenSchema).optional(),
})

/** How a running attempt goes; may be missing altogether. */
const metricsSchema = z.object({
  tokens_out: count,
  elapsed_ms: ms,
  tokens_per_second: z.number().nonnegative().optional(),
  queue_depth: count.optional(),
  time_budget_remaining_ms: ms.optional(),
})

/** The seal of a job that has its whole answer. */
export const endSchema = z.object({
  finish_reason: z.enum(['length', 'eos_token', 'stop_sequence']),
  tokens_in: count.optional().describe('absent when the replica never told'),
  tokens_out: count,
  queue_time_ms: ms.describe('from acceptance to the first `started`'),
  first_token_ms: ms.describe('from acceptance to the first token'),
  decode_time_ms: ms
    .optional()
    .describe(
      'from the first token to the last, over all attempts; absent when whoever saw the last one is gone',
    ),
  seed: count,
  text: z.string().describe("the answer in the replica's own decoding"),
  attempts: z.number().int().positive(),
  exact: z.boolean().describe('no best-effort seam: the answer is one the replica would give in one go'),
})

/** The seal of a job without its answer. */
export const errorSchema = z.object({
  code: z.enum(ERROR_CODES),
  message: z.string(),
  retriable: z.boolean(),
  retry_after_ms: ms.optional(),
  tokens_out: count.optional(),
  engine: z.literal('tgi'),
  pool_id: poolIdSchema,
  replica_id: replicaIdSchema.optional(),
  attempt: z.number().int().positive().optional(),
})

/** The schema of each event's `data`, by name. Readers ignore fields they do not know. */
export const EVENT_SCHEMAS = {
  queued: queuedSchema,
  started: startedSchema,
  token: tokenSchema,
  metrics: metricsSchema,
  end: endSchema,
  error: errorSchema,
} as const

/** The `data` of each event, by name. */
export interface EventData {
  readonly queued: z.infer<typeof queuedSchema>
  readonly started: z.infer<typeof startedSchema>
  readonly token: z.infer<typeof tokenSchema>
  readonly metrics: z.infer<typeof metricsSchema>
  readonly end: z.infer<typeof endSchema>
  readonly error: z.infer<typeof errorSchema>
}

/** The name of an event. */
export type EventName = keyof EventData

/** One event of a job: `id` is its place in the stream and the cursor to resume after. */
export type JobEvent = {
  [Name in EventName]: { readonly id: Cursor; readonly event: Name; readonly data: EventData[Name] }
}[EventName]

/** The terminal events. */
export type TerminalEvent = Extract<JobEvent, { event: 'end' | 'error' }>

/** Whether nothing can follow. */
export function isTerminal(event: JobEvent): event is TerminalEvent {
  return event.event === 'end' || event.event === 'error'
}

import { z } from 'zod'
import { ERROR_CODES } from './codes.ts'
import { labelSchema, poolIdSchema, replicaIdSchema } from './ids.ts'
import type { Cursor } from './stream-id.ts'
import type { EndData, ErrorData, MetricsData, QueuedData, StartedData, TokenData } from './wire-types.ts'

const ms = z.number().int().nonnegative()
const count = z.number().int().nonnegative()

/** The job is accepted. Written by the producer before the job is in the queue. */
const queuedSchema = z.object({
  digest: z
    .string()
    .describe('SHA-256 (hex) of the body as given: distinguishes two bodies with the same id'),
  accepted_at: ms.describe("When the job was accepted (ms since 1970, by Redis's clock)"),
  deadline_at: ms.describe(
    "When the job's deadline passes; then it ends in `error` (ms since 1970, by Redis's clock)",
  ),
  queue_position: count.describe('Jobs ahead of it at that time, from 0'),
  predicted_start_ms: ms
    .optional()
    .describe("Expected wait at that time (ms). Absent when the pool's pace was unknown"),
  priority: z
    .enum(['interactive', 'batch'])
    .optional()
    .describe('Interactive jobs go before batch jobs. Absent in events of older producers'),
  correlation_id: labelSchema.optional().describe("The job's `correlation_id`"),
  retention_ms: ms
    .optional()
    .describe("How long the events stay readable after the end (ms). Absent: the pool's `retention_ms`"),
})

/** An attempt starts; from here on every older attempt is fenced. */
const startedSchema = z.object({
  attempt: z.number().int().positive().describe('Which attempt this is, from 1'),
  engine: z.literal('tgi').describe('The inference engine'),
  engine_version: z
    .string()
    .describe("The replica's build, `<version>+<docker label or first 7 of the commit>`"),
  pool_id: poolIdSchema.describe('The pool of the job'),
  replica_id: replicaIdSchema.describe('The replica that runs this attempt'),
  model_id: z.string().describe('The model, as the replica names it'),
  seed: count.describe('The seed of this attempt'),
  queue_time_ms: ms.describe('From acceptance to this event (ms)'),
  determinism: z.enum(['best_effort', 'strict']).describe('How exactly a retried job repeats its answer'),
  window_id: z.string().optional().describe('Reserved: the window in which the job runs alone'),
  retention_ms: ms
    .optional()
    .describe(
      'As in `queued`, for jobs of plain BullMQ producers, which write no `queued`: on the first attempt only (ms)',
    ),
  next_token: count.describe('Index of the next token; drop any tokens that you hold from that index on'),
  resume: z
    .object({
      mode: z
        .enum(['continue', 'replay'])
        .describe(
          '`continue`: continues from the text so far; `replay`: generates the tokens so far again without publishing them, then continues',
        ),
      exact: z.boolean().describe('Whether the answer has no best-effort seam, including this one'),
      same_tokens: z
        .boolean()
        .optional()
        .describe(
          'With `continue`: whether the replica tokenizes the whole text so far into the published tokens, not only at the seam. If false, even a greedy answer may differ from an uninterrupted one',
        ),
    })
    .optional()
    .describe('How an interrupted answer is resumed. Absent when the attempt starts at the first token'),
  correlation_id: labelSchema.optional().describe("The job's `correlation_id`"),
})

const topTokenSchema = z.object({
  id: count.describe("The token's id in the model's vocabulary"),
  t: z.string().describe('Its text'),
  logprob: z.number().nullable().describe('Its natural log probability; null when not finite'),
})

/** One LLM token: each token that the replica sends, including empty and special ones. */
export const tokenSchema = z.object({
  t: z
    .string()
    .describe(
      'Text that the token adds. Empty if the token is only part of a character that a later token completes',
    ),
  i: count.describe('Index from 0, without gaps or repeats across attempts'),
  id: count.describe("The token's id in the model's vocabulary"),
  logprob: z.number().nullable().describe('Its natural log probability; null when not finite'),
  first_token_ms: ms.optional().describe('On the first token only: time from acceptance to this token (ms)'),
  ttft_ms: ms
    .optional()
    .describe(
      "On the first token only: time from the attempt's request to the replica to this token (ms). Absent in events of older workers",
    ),
  special: z
    .literal(true)
    .optional()
    .describe('Present when the token is not part of the text, e.g. the end-of-sequence token'),
  top: z
    .array(topTokenSchema)
    .optional()
    .describe('The most likely tokens at this position; present when the job has `top_n_tokens`'),
})

/** Progress of a running attempt; not every job has these events. */
const metricsSchema = z.object({
  tokens_out: count.describe('Tokens published so far, over all attempts'),
  elapsed_ms: ms.describe('Time since this attempt started (ms)'),
  tokens_per_second: z
    .number()
    .nonnegative()
    .optional()
    .describe('Pace of this attempt since its first token. Absent before its second token'),
  queue_depth: count.optional().describe('Jobs waiting in the pool. Absent when unknown'),
  time_budget_remaining_ms: ms.optional().describe('Time until the deadline (ms)'),
})

/** The seal of a job that has its whole answer. */
export const endSchema = z.object({
  finish_reason: z
    .enum(['length', 'eos_token', 'stop_sequence'])
    .describe('Why the answer ended: `max_new_tokens` reached, end-of-sequence token, or stop sequence'),
  tokens_in: count.optional().describe('Tokens of the prompt. Absent when the replica never reported them'),
  tokens_out: count.describe('Tokens of the answer, special ones included'),
  queue_time_ms: ms.describe('Time from acceptance to the first `started` (ms)'),
  first_token_ms: ms.describe('Time from acceptance to the first token (ms), including the queue'),
  ttft_ms: ms
    .optional()
    .describe(
      'Time to first token (ms): from the request to the replica to token 0, in the attempt that published it. Absent without a token, or if an older worker published it',
    ),
  decode_time_ms: ms
    .optional()
    .describe(
      'Time from the first token to the last, over all attempts (ms). Absent when the process that saw the last token is gone',
    ),
  seed: count.describe('Seed of the last attempt'),
  text: z.string().describe('The whole answer, as the replica decoded it'),
  attempts: z.number().int().positive().describe('Number of attempts'),
  exact: z
    .boolean()
    .describe('Whether the answer equals that of an uninterrupted run, because it has no best-effort seam'),
})

/** The seal of a job without its answer. */
export const errorSchema = z.object({
  code: z.enum(ERROR_CODES).describe('Why the job has no answer'),
  message: z.string().describe('What happened, for people. Contains no prompts or secrets'),
  retriable: z.boolean().describe('Whether the same job may succeed if enqueued again'),
  retry_after_ms: ms.optional().describe('How long to wait before that (ms), if known'),
  tokens_out: count.optional().describe('Tokens published before the error; they stay readable'),
  engine: z.literal('tgi').describe('The inference engine'),
  pool_id: poolIdSchema.describe('The pool of the job'),
  replica_id: replicaIdSchema.optional().describe('The replica of the last attempt'),
  attempt: z.number().int().positive().optional().describe('The last attempt, from 1'),
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
  /** The job is accepted. */
  readonly queued: QueuedData
  /** An attempt starts. */
  readonly started: StartedData
  /** One token of the answer. */
  readonly token: TokenData
  /** Progress of the running attempt. */
  readonly metrics: MetricsData
  /** The answer is complete; nothing follows. */
  readonly end: EndData
  /** The job failed or was cancelled; nothing follows. */
  readonly error: ErrorData
}

/** The name of an event. */
export type EventName = keyof EventData

/** One event of a job: `id` is its place in the stream and the cursor to resume after. */
export type JobEvent = {
  [Name in EventName]: {
    /** Its place in the stream: pass it as `after` to resume after this event. */
    readonly id: Cursor
    /** Which event it is; `end` and `error` are the last. */
    readonly event: Name
    /** Its content; the fields depend on `event`. */
    readonly data: EventData[Name]
  }
}[EventName]

/** The terminal events. */
export type TerminalEvent = Extract<JobEvent, { event: 'end' | 'error' }>

/** Whether the event is the last one of its job. */
export function isTerminal(event: JobEvent): event is TerminalEvent {
  return event.event === 'end' || event.event === 'error'
}

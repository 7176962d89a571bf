import { z } from 'zod'
import { strictFields } from './unknown-fields.ts'
import type { PoolConfig } from './wire-types.ts'

export type { Pin, PoolConfig } from './wire-types.ts'

const ms = z.number().int().positive()

/** The version tuple a pool insists on: a replica that differs takes no jobs. */
const pinSchema = strictFields({
  engine_version: z.string().optional().describe('The build, as `replicas` shows it. Absent: any'),
  model_id: z.string().optional().describe('The model, as the replica names it. Absent: any'),
  model_sha: z
    .string()
    .nullable()
    .optional()
    .describe("The model's revision; null is one that reports none. Absent: any"),
})

/**
 * What an operator decides for a pool. Stored as a HASH, one JSON value a field; a field that is not there has
 * its default, so a new default reaches old pools.
 */
export const poolConfigSchema = z.object({
  deadline_ms: ms.default(600_000).describe('Deadline of interactive jobs that name none (ms)'),
  batch_deadline_ms: ms.default(86_400_000).describe('Deadline of batch jobs that name none (ms)'),
  max_deadline_ms: ms
    .default(86_400_000)
    .describe('Longest deadline that a job may ask for (ms); the two defaults are cut to it'),
  max_new_tokens: z
    .number()
    .int()
    .positive()
    .default(512)
    .describe('`max_new_tokens` of jobs that name none'),
  max_max_new_tokens: z
    .number()
    .int()
    .positive()
    .default(65_536)
    .describe('Largest `max_new_tokens` that a job may ask for'),
  max_input_bytes: z
    .number()
    .int()
    .positive()
    .default(1_500_000)
    .describe(
      "Most bytes of prompt or messages, stop and grammar together. TGI's own limit is 2,000,000 for the whole request",
    ),
  max_queued: z
    .number()
    .int()
    .positive()
    .default(10_000)
    .describe('Most waiting interactive jobs; more are refused'),
  batch_max_queued: z
    .number()
    .int()
    .positive()
    .default(100_000)
    .describe('Most waiting batch jobs; more are refused'),
  max_queued_bytes: z
    .number()
    .int()
    .positive()
    .default(536_870_912)
    .describe(
      'Most bytes of all jobs that have not ended; more are refused. The default, 512 MiB, holds `batch_max_queued` jobs of 5 KB each',
    ),
  max_memory_percent: z
    .number()
    .int()
    .min(1)
    .max(100)
    .default(80)
    .describe(
      "Percent of Redis's maxmemory in use above which new jobs are refused; the rest is left to the jobs that were accepted",
    ),
  reserved_slots: z
    .number()
    .int()
    .nonnegative()
    .nullable()
    .default(null)
    .describe('Slots of each replica that batch jobs may not use. Null: 1 of 4 or more, else 0'),
  max_attempts: z
    .number()
    .int()
    .positive()
    .default(5)
    .describe('Most attempts of a job that count; overload, drains and refused connections cost none'),
  retention_ms: ms
    .default(3_600_000)
    .describe(
      'How long the events of a job that does not say stay readable after its end (ms); at most `max_retention_ms`',
    ),
  max_retention_ms: ms.default(604_800_000).describe('Longest `retention_ms` that a job may ask for (ms)'),
  first_token_timeout_ms: ms
    .default(120_000)
    .describe('Longest silence of a replica before the first token (ms); then the attempt has failed'),
  token_timeout_ms: ms
    .default(60_000)
    .describe('Longest silence of a replica between tokens (ms); then the attempt has failed'),
  metrics_interval_ms: z
    .number()
    .int()
    .refine((value) => value === 0 || value >= 500, { error: 'expected 0 (off) or at least 500' })
    .default(0)
    .describe('Interval of the `metrics` events of a running job (ms): 500 or more, or 0 for none'),
  chat_leading_marker: z
    .enum(['accept', 'refuse'])
    .default('accept')
    .describe(
      "Chats on a model whose tokenizer puts a marker in front of every prompt while its chat template writes none: accept them with one token more than on TGI's chat route, or refuse them",
    ),
  pin: pinSchema
    .default({})
    .describe('The build and model that the pool insists on; a replica that differs takes no jobs'),
})

/** The config of a pool without settings of its own. */
export const DEFAULT_POOL_CONFIG: PoolConfig = poolConfigSchema.parse({})

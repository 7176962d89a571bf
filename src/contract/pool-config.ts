import { z } from 'zod'

const ms = z.number().int().positive()

/** The version tuple a pool insists on: a replica that differs takes no jobs. */
const pinSchema = z.strictObject({
  engine_version: z.string().optional(),
  model_id: z.string().optional(),
  model_sha: z.string().nullable().optional(),
})

/** The version tuple a pool insists on. */
export type Pin = z.infer<typeof pinSchema>

/**
 * What an operator decides for a pool. Stored as a HASH, one JSON value a field; a field that is not there has
 * its default, so a new default reaches old pools.
 */
export const poolConfigSchema = z.object({
  deadline_ms: ms.default(600_000).describe('default deadline of interactive jobs'),
  batch_deadline_ms: ms.default(86_400_000).describe('default deadline of batch jobs'),
  max_deadline_ms: ms
    .default(86_400_000)
    .describe('longest deadline of a job; longer defaults above are cut to it'),
  max_new_tokens: z.number().int().positive().default(512).describe('of jobs that name none'),
  max_max_new_tokens: z.number().int().positive().default(65_536).describe('the most a job may ask for'),
  max_input_bytes: z
    .number()
    .int()
    .positive()
    .default(1_500_000)
    .describe(
      "of prompt or messages, stop and grammar together; TGI's own limit is 2,000,000 for the whole request",
    ),
  max_queued: z
    .number()
    .int()
    .positive()
    .default(10_000)
    .describe('most waiting interactive jobs; more are refused'),
  batch_max_queued: z
    .number()
    .int()
    .positive()
    .default(100_000)
    .describe('most waiting batch jobs; more are refused'),
  max_queued_bytes: z
    .number()
    .int()
    .positive()
    .default(536_870_912)
    .describe(
      'most bytes of all jobs that have not ended; more are refused. The default, 512 MiB, holds batch_max_queued jobs of 5 KB each',
    ),
  max_memory_percent: z
    .number()
    .int()
    .min(1)
    .max(100)
    .default(80)
    .describe(
      "percent of Redis's maxmemory in use above which new jobs are refused; the rest is left to the jobs that were accepted",
    ),
  reserved_slots: z
    .number()
    .int()
    .nonnegative()
    .nullable()
    .default(null)
    .describe('slots of each replica that batch jobs may not use; null: 1 of 4 or more, else 0'),
  max_attempts: z
    .number()
    .int()
    .positive()
    .default(5)
    .describe('most attempts of a job that count; overload, drains and refused connections cost none'),
  retention_ms: ms.default(3_600_000).describe('how long events stay readable after the end'),
  first_token_timeout_ms: ms.default(120_000).describe('silence of a replica before the first token'),
  token_timeout_ms: ms.default(60_000).describe('silence of a replica between tokens'),
  metrics_interval_ms: z
    .number()
    .int()
    .refine((value) => value === 0 || value >= 500, { error: 'expected 0 (off) or at least 500' })
    .default(0)
    .describe('how often a running job writes `metrics`; 0 is never'),
  chat_leading_marker: z
    .enum(['accept', 'refuse'])
    .default('accept')
    .describe(
      "chats on a model whose tokenizer puts a marker in front of every prompt while its chat template writes none: accept them with one token more than on TGI's chat route, or refuse them",
    ),
  pin: pinSchema.default({}),
})

/** A pool's config, whole. */
export type PoolConfig = z.infer<typeof poolConfigSchema>

/** The config of a pool that nobody configured. */
export const DEFAULT_POOL_CONFIG: PoolConfig = poolConfigSchema.parse({})

import { z } from 'zod'
import { strictFields } from './unknown-fields.ts'
import type { PoolConfig } from './wire-types.ts'

export type { Pin, PoolConfig } from './wire-types.ts'

const ms = z.number().int().positive()

/** The build and model that a pool requires: a replica that differs takes no jobs. */
const pinSchema = strictFields({
  engine_version: z.string().optional().describe('The build, as `replicas` shows it. Absent: any'),
  model_id: z.string().optional().describe('The model, as the replica names it. Absent: any'),
  model_sha: z
    .string()
    .nullable()
    .optional()
    .describe("The model's revision; null: the replica reports none. Absent: any"),
})

/**
 * The settings of a pool. Stored as a HASH with one JSON value per field; an absent field has its default, so a new
 * default reaches existing pools.
 */
export const poolConfigSchema = z.object({
  deadline_ms: ms.default(600_000).describe('Deadline of interactive jobs without `deadline_ms` (ms)'),
  batch_deadline_ms: ms.default(86_400_000).describe('Deadline of batch jobs without `deadline_ms` (ms)'),
  max_deadline_ms: ms
    .default(86_400_000)
    .describe('Longest `deadline_ms` of a job (ms); also caps the two defaults'),
  max_new_tokens: z.number().int().positive().default(512).describe('`max_new_tokens` of jobs that set none'),
  max_max_new_tokens: z
    .number()
    .int()
    .positive()
    .default(65_536)
    .describe('Largest `max_new_tokens` of a job'),
  max_input_bytes: z
    .number()
    .int()
    .positive()
    .default(1_500_000)
    .describe(
      "Maximum bytes of prompt or messages, stop and grammar together. TGI's own limit is 2,000,000 for the whole request",
    ),
  max_queued: z
    .number()
    .int()
    .positive()
    .default(10_000)
    .describe('Maximum number of waiting interactive jobs; more are refused'),
  batch_max_queued: z
    .number()
    .int()
    .positive()
    .default(100_000)
    .describe('Maximum number of waiting batch jobs; more are refused'),
  max_queued_bytes: z
    .number()
    .int()
    .positive()
    .default(536_870_912)
    .describe(
      'Maximum bytes of all jobs that have not ended; more are refused. The default, 512 MiB, fits `batch_max_queued` jobs of 5 KB each',
    ),
  max_memory_percent: z
    .number()
    .int()
    .min(1)
    .max(100)
    .default(80)
    .describe(
      "Percentage of Redis's maxmemory above which new jobs are refused; the rest is reserved for accepted jobs",
    ),
  reserved_slots: z
    .number()
    .int()
    .nonnegative()
    .nullable()
    .default(null)
    .describe('Slots of each replica that batch jobs may not use. Null: 1 if it has 4 or more, else 0'),
  max_attempts: z
    .number()
    .int()
    .positive()
    .default(5)
    .describe('Maximum attempts of a job; overload, drains and refused connections do not count'),
  retention_ms: ms
    .default(3_600_000)
    .describe(
      'How long events stay readable after the end of jobs without `retention_ms` (ms); at most `max_retention_ms`',
    ),
  max_retention_ms: ms.default(604_800_000).describe('Longest `retention_ms` of a job (ms)'),
  first_token_timeout_ms: ms
    .default(120_000)
    .describe('How long a replica may be silent before the first token (ms); then the attempt fails'),
  token_timeout_ms: ms
    .default(60_000)
    .describe('How long a replica may be silent between tokens (ms); then the attempt fails'),
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
      "What to do with chats if the model's tokenizer puts a marker in front of every prompt but its chat template does not: accept them, with one token more than on TGI's chat route, or refuse them",
    ),
  pin: pinSchema
    .default({})
    .describe('The build and model that the pool requires; a replica that differs takes no jobs'),
})

/** The settings of a pool where none was changed. */
export const DEFAULT_POOL_CONFIG: PoolConfig = poolConfigSchema.parse({})

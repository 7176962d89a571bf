import { z } from 'zod'
import { replicaIdSchema } from './ids.ts'

export type { ReplicaEntry, Versions } from './wire-types.ts'

/** The states that a replica's worker reports, and `lost`: its lease is gone. */
const REPLICA_STATES = ['ready', 'unhealthy', 'drifted', 'draining', 'window', 'standby', 'lost'] as const

/** The state of a replica in the registry. */
export type ReplicaState = (typeof REPLICA_STATES)[number]

/** Which build of which engine serves which model, and its limits. */
const versionsSchema = z.object({
  engine: z.literal('tgi').describe('The inference engine'),
  engine_version: z.string().describe('Its build, `<version>+<docker label or first 7 of the commit>`'),
  model_id: z.string().describe('The model, as the replica names it'),
  model_sha: z.string().nullable().describe("The model's revision; null when the replica reports none"),
  max_input_tokens: z.number().int().optional().describe('Maximum tokens of a prompt, if reported'),
  max_total_tokens: z.number().int().describe('Maximum tokens of prompt and answer together'),
  max_concurrent_requests: z.number().int().optional().describe('Maximum concurrent requests, if reported'),
})

const count = z.number().int().nonnegative()

/** One entry of the registry: a replica and the worker that serves it, or stands by for it. */
export const replicaEntrySchema = z.object({
  replica_id: replicaIdSchema.describe("The replica's id, unique in its pool"),
  worker_id: z.string().describe('The worker that serves it or stands by for it'),
  url: z.string().describe('Its base URL, without credentials'),
  state: z
    .enum(REPLICA_STATES)
    .describe('Whether it takes jobs (`ready`), or why not. `lost`: its worker is gone'),
  reason: z
    .string()
    .optional()
    .describe('Why it is not ready, or why it is ready although its health check does not answer'),
  versions: versionsSchema
    .nullable()
    .describe('Its build, model and limits. Null until the replica has reported them'),
  slots: count.describe('Requests that its worker may hold open now'),
  slots_configured: z
    .number()
    .int()
    .positive()
    .describe('Maximum open requests that its worker was configured with'),
  busy: count.describe('Requests that are open now'),
  job_ms: z
    .number()
    .nonnegative()
    .optional()
    .describe('How long a recent job held a slot on average (ms). Absent until one has ended'),
  job_count: count
    .optional()
    .describe('Jobs that have ended since the worker started, from which `job_ms` is computed. Absent: none'),
  capabilities: z.array(z.string()).describe('What it can do: generate, chat'),
  updated_at: z.number().int().describe("When the worker last wrote this (ms since 1970, by Redis's clock)"),
})

import { z } from 'zod'
import { replicaIdSchema } from './ids.ts'

export type { ReplicaEntry, Versions } from './wire-types.ts'

/** What a replica's worker says of it, and `lost`: its lease is gone. */
const REPLICA_STATES = ['ready', 'unhealthy', 'drifted', 'draining', 'window', 'standby', 'lost'] as const

/** The state of a replica, as the registry has it. */
export type ReplicaState = (typeof REPLICA_STATES)[number]

/** What pins a replica: which build of which engine serves which model, and the limits it has. */
const versionsSchema = z.object({
  engine: z.literal('tgi').describe('What serves the model'),
  engine_version: z.string().describe('Its build, `<version>+<docker label or first 7 of the commit>`'),
  model_id: z.string().describe('The model, as the replica names it'),
  model_sha: z.string().nullable().describe("The model's revision; null when the replica reports none"),
  max_input_tokens: z.number().int().optional().describe('Most tokens of a prompt, when reported'),
  max_total_tokens: z.number().int().describe('Most tokens of prompt and answer together'),
  max_concurrent_requests: z.number().int().optional().describe('Most requests at once, when reported'),
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
    .describe('Why it is not ready, or why it is ready although its health check is silent'),
  versions: versionsSchema
    .nullable()
    .describe('Its build, model and limits. Null until the replica has reported them'),
  slots: count.describe('Requests that it may have open now'),
  slots_configured: z
    .number()
    .int()
    .positive()
    .describe('Requests that it may have open at most, as its worker was started'),
  busy: count.describe('Requests that it has open'),
  job_ms: z
    .number()
    .nonnegative()
    .optional()
    .describe('How long a job holds a slot (ms), over the last ones. Absent until one has ended'),
  job_count: count
    .optional()
    .describe('Jobs that have ended since the worker started, on which `job_ms` rests. Absent: none'),
  capabilities: z.array(z.string()).describe('What it can do: generate, chat'),
  updated_at: z.number().int().describe("When the worker last wrote this (ms since 1970, by Redis's clock)"),
})

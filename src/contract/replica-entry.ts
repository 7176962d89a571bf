import { z } from 'zod'
import { replicaIdSchema } from './ids.ts'

/** What a replica's worker says of it, and `lost`: its lease is gone. */
const REPLICA_STATES = ['ready', 'unhealthy', 'drifted', 'draining', 'window', 'standby', 'lost'] as const

/** The state of a replica, as the registry has it. */
export type ReplicaState = (typeof REPLICA_STATES)[number]

/** What pins a replica: which build of which engine serves which model, and the limits it has. */
const versionsSchema = z.object({
  engine: z.literal('tgi'),
  engine_version: z.string(),
  model_id: z.string(),
  model_sha: z.string().nullable(),
  max_input_tokens: z.number().int().optional(),
  max_total_tokens: z.number().int(),
  max_concurrent_requests: z.number().int().optional(),
})

/** A replica's version tuple and limits. */
export type Versions = z.infer<typeof versionsSchema>

const count = z.number().int().nonnegative()

/** One entry of the registry: a replica and the worker that serves it, or stands by for it. */
export const replicaEntrySchema = z.object({
  replica_id: replicaIdSchema,
  worker_id: z.string(),
  url: z.string(),
  state: z.enum(REPLICA_STATES),
  reason: z
    .string()
    .optional()
    .describe('why it is not ready, or why it is ready although its health check is silent'),
  versions: versionsSchema.nullable().describe('null until the replica has told'),
  slots: count.describe('requests it may have open now'),
  slots_configured: z.number().int().positive(),
  busy: count,
  job_ms: z
    .number()
    .nonnegative()
    .optional()
    .describe('how long a job holds a slot, over the last ones; absent until one has ended'),
  job_count: count
    .optional()
    .describe('how many jobs have ended since the worker started, on which `job_ms` rests; absent: none'),
  capabilities: z.array(z.string()),
  updated_at: z.number().int().describe("ms since 1970, by Redis's clock"),
})

/** A replica, as `replicas --json` prints it. */
export type ReplicaEntry = z.infer<typeof replicaEntrySchema>

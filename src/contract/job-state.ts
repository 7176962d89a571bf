import { z } from 'zod'
import { endSchema, errorSchema } from './event.ts'
import { jobIdSchema, poolIdSchema, replicaIdSchema } from './ids.ts'
import { JOB_STATES } from './job-states.ts'

/** Where a job stands, as `job` prints it. The stream decides; the queue only tells where it waits. */
export const jobStateSchema = z.object({
  job_id: jobIdSchema,
  pool_id: poolIdSchema,
  state: z.enum(JOB_STATES).describe('`failed` is any `error` but `CANCELLED`, which is `cancelled`'),
  last_id: z.string().nullable().describe('the last event; null when a job waits that has no events yet'),
  accepted_at: z.number().int().optional(),
  deadline_at: z.number().int().optional(),
  attempts: z.number().int().nonnegative(),
  replica_id: replicaIdSchema.optional(),
  tokens_out: z.number().int().nonnegative(),
  end: endSchema.optional(),
  error: errorSchema.optional(),
})

/** Where a job stands. */
export type JobState = z.infer<typeof jobStateSchema>

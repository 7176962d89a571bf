import { z } from 'zod'
import { endSchema, errorSchema } from './event.ts'
import { jobIdSchema, poolIdSchema, replicaIdSchema } from './ids.ts'
import { JOB_STATES } from './job-states.ts'

export type { JobState } from './wire-types.ts'

/** Where a job stands, as `job` prints it. The stream decides; the queue only shows where it waits. */
export const jobStateSchema = z.object({
  job_id: jobIdSchema.describe("The job's id"),
  pool_id: poolIdSchema.describe('The pool that it is in'),
  state: z
    .enum(JOB_STATES)
    .describe(
      'Where it stands; the last three are final. `failed` is any `error` but `CANCELLED`, which is `cancelled`',
    ),
  last_id: z
    .string()
    .nullable()
    .describe('Id of the last event. Null when a job waits that has no events yet'),
  accepted_at: z
    .number()
    .int()
    .optional()
    .describe(
      "When it was accepted (ms since 1970, by Redis's clock). Absent: a plain BullMQ producer's job",
    ),
  deadline_at: z
    .number()
    .int()
    .optional()
    .describe(
      "When it ends in `error` at the latest (ms since 1970, by Redis's clock). Absent: a plain BullMQ producer's job",
    ),
  attempts: z.number().int().nonnegative().describe('Attempts begun, the running one included'),
  replica_id: replicaIdSchema.optional().describe('The replica of the last attempt. Absent before the first'),
  tokens_out: z.number().int().nonnegative().describe('Tokens published so far'),
  end: endSchema.optional().describe('The terminal event of a job that has `ended`, with its answer'),
  error: errorSchema.optional().describe('The terminal event of a job that has `failed` or was `cancelled`'),
})

import { z } from 'zod'
import { endSchema, errorSchema } from './event.ts'
import { jobIdSchema, poolIdSchema, replicaIdSchema } from './ids.ts'
import { JOB_STATES } from './job-states.ts'

export type { JobState } from './wire-types.ts'

/** The state of a job, as `job` prints it. Read from the stream; the queue only shows where the job waits. */
export const jobStateSchema = z.object({
  job_id: jobIdSchema.describe("The job's id"),
  pool_id: poolIdSchema.describe("The job's pool"),
  state: z
    .enum(JOB_STATES)
    .describe(
      'The last three states are final. `cancelled`: it ended in `error` with the code `CANCELLED`; `failed`: with any other code',
    ),
  last_id: z
    .string()
    .nullable()
    .describe('Id of the last event. Null for a waiting job that has no events yet'),
  accepted_at: z
    .number()
    .int()
    .optional()
    .describe(
      "When it was accepted (ms since 1970, by Redis's clock). Absent for jobs of plain BullMQ producers",
    ),
  deadline_at: z
    .number()
    .int()
    .optional()
    .describe(
      "When its deadline passes; then it ends in `error` (ms since 1970, by Redis's clock). Absent for jobs of plain BullMQ producers",
    ),
  attempts: z.number().int().nonnegative().describe('Attempts so far, including the running one'),
  replica_id: replicaIdSchema.optional().describe('The replica of the last attempt. Absent before the first'),
  tokens_out: z.number().int().nonnegative().describe('Tokens published so far'),
  end: endSchema.optional().describe('The terminal event of a job that has `ended`, with its answer'),
  error: errorSchema.optional().describe('The terminal event of a job that has `failed` or was `cancelled`'),
})

import { z } from 'zod'
import { ERROR_CODES } from './codes.ts'
import { JOB_STATES } from './job-states.ts'

const ms = z.number().int()

/** A job in a list, as `jobs --json` prints it. */
export const jobSummarySchema = z.object({
  job_id: z.string().describe("The job's id"),
  state: z
    .enum(JOB_STATES)
    .describe('`cancelled`: it ended in `error` with the code `CANCELLED`; `failed`: with any other code'),
  since: ms.describe("When it entered that state (ms since 1970, by Redis's clock)"),
  priority: z.enum(['interactive', 'batch']).describe('Interactive jobs go before batch jobs'),
  accepted_at: ms
    .optional()
    .describe("When the job was accepted (ms since 1970, by Redis's clock). Absent if unknown"),
  deadline_at: ms
    .optional()
    .describe(
      "When the job's deadline passes; then it ends in `error` (ms since 1970, by Redis's clock). Absent if unknown",
    ),
  correlation_id: z.string().optional().describe("The job's `correlation_id`"),
  code: z.enum(ERROR_CODES).optional().describe('The code of its `error` event, if it has one'),
})

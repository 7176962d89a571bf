import { z } from 'zod'
import { ERROR_CODES } from './codes.ts'
import { JOB_STATES } from './job-states.ts'

const ms = z.number().int()

/** A job in a list, as `jobs --json` prints it. */
export const jobSummarySchema = z.object({
  job_id: z.string().describe("The job's id"),
  state: z.enum(JOB_STATES).describe('`failed` is any `error` but `CANCELLED`, which is `cancelled`'),
  since: ms.describe("When it entered that state (ms since 1970, by Redis's clock)"),
  priority: z.enum(['interactive', 'batch']).describe('Interactive jobs go before batch jobs'),
  accepted_at: ms
    .optional()
    .describe(
      "When the job was accepted (ms since 1970, by Redis's clock). Absent when its events do not say it",
    ),
  deadline_at: ms
    .optional()
    .describe(
      "When the job ends in `error` at the latest (ms since 1970, by Redis's clock). Absent when its events do not say it",
    ),
  correlation_id: z.string().optional().describe("The job's own"),
  code: z.enum(ERROR_CODES).optional().describe('The code of its `error` event. Absent without one'),
})

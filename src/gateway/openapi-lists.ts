import { z } from 'zod'
import { MAX_PAGE } from '../contract/limits.ts'
import { poolIdSchema } from '../contract/ids.ts'
import { JOB_STATES } from '../contract/job-states.ts'
import { jobSummarySchema } from '../contract/job-summary.ts'
import { replicaEntrySchema } from '../contract/replica-entry.ts'
import { ANY_CORRELATION, answer, errors } from './openapi-parts.ts'
import type { Json } from './openapi-parts.ts'

const jobPageSchema = z.object({
  jobs: z.array(jobSummarySchema),
  next_cursor: z
    .string()
    .optional()
    .describe(
      'Pass it as `cursor` to get the next page. Absent on the last page only: a page may have few jobs, or none, and still have it',
    ),
})

const replicasSchema = z.object({ replicas: z.array(replicaEntrySchema) })

/** The schemas of list responses. */
export const LIST_SCHEMAS: Readonly<Record<string, z.ZodType>> = {
  JobPage: jobPageSchema,
  Replicas: replicasSchema,
}

const { $schema: _, ...POOL_ID } = z.toJSONSchema(poolIdSchema, { io: 'input' })

function query(name: string, description: string, schema: Json): Json {
  return { name, in: 'query', description, schema }
}

/** The paths of lists. */
export const LIST_PATHS: Readonly<Record<string, Json>> = {
  '/v1/jobs': {
    get: {
      operationId: 'jobs',
      tags: ['jobs'],
      summary: 'A pool’s jobs, most recent state change first',
      description:
        'Finished jobs are listed until their events expire. With bearer keys, the key needs the scope `operate`, because anyone who knows a job’s id can read, cancel and erase the job. A job that changes state while you page may appear on two pages; any other job appears on exactly one.',
      parameters: [
        query('pool', 'The pool; optional if there is exactly one', POOL_ID),
        query('state', 'Only jobs in this state', { enum: JOB_STATES }),
        query('priority', 'Only jobs of this priority', { enum: ['interactive', 'batch'] }),
        query('limit', 'Maximum number of jobs on the page', {
          type: 'integer',
          minimum: 1,
          maximum: MAX_PAGE,
          default: 100,
        }),
        query('cursor', 'The `next_cursor` of the previous page, with the same filter', { type: 'string' }),
        ANY_CORRELATION,
      ],
      responses: { 200: answer('A page of jobs', 'JobPage'), ...errors(404) },
    },
  },
  '/v1/pools/{pool}/replicas': {
    get: {
      operationId: 'replicas',
      tags: ['pools'],
      summary: 'A pool’s replicas and their state',
      description: 'The same as `tgi-pool replicas --json`. URLs have no user info.',
      parameters: [
        {
          name: 'pool',
          in: 'path',
          required: true,
          description: 'The pool',
          schema: POOL_ID,
          example: 'main',
        },
        ANY_CORRELATION,
      ],
      responses: { 200: answer('The replicas, by id', 'Replicas'), ...errors(404) },
    },
  },
}

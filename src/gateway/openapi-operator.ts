import { z } from 'zod'
import { poolIdSchema, replicaIdSchema } from '../contract/ids.ts'
import { ANY_CORRELATION, answer, empty, errors, json } from './openapi-parts.ts'
import type { Json } from './openapi-parts.ts'

const drainedSchema = z.object({
  replica_id: replicaIdSchema,
  outcome: z.enum(['draining', 'already_draining']),
  since: z.number().int().describe("When it was requested (ms since 1970, by Redis's clock)"),
  grace_ms: z
    .number()
    .int()
    .optional()
    .describe("Grace period for running attempts from then on (ms). Absent: the worker's own"),
  ready_replicas: z
    .number()
    .int()
    .describe('Other replicas of the pool that are ready and not draining; with 0, none serves it'),
})

const undrainedSchema = z.object({
  replica_id: replicaIdSchema,
  outcome: z.enum(['undrained', 'was_not_draining']),
})

/** The schemas of what operators get. */
export const OPERATOR_SCHEMAS: Readonly<Record<string, z.ZodType>> = {
  Drained: drainedSchema,
  Undrained: undrainedSchema,
}

function inPath(name: string, description: string, schema: z.ZodType, example: string): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: 'input' })
  return { name, in: 'path', required: true, description, schema: rest, example }
}

const POOL = inPath('pool', 'The pool', poolIdSchema, 'main')
const REPLICA = inPath('replica', 'The replica’s id', replicaIdSchema, 'gpu-1')
const RIGHTS =
  'With bearer keys, the key needs the scope `operate`. The gateway’s Redis user needs an operator’s rights.'

/** The paths that change a pool, or what serves it. */
export const OPERATOR_PATHS: Readonly<Record<string, Json>> = {
  '/v1/pools/{pool}': {
    delete: {
      operationId: 'deletePool',
      tags: ['pools'],
      summary: 'Delete a pool with all its keys',
      description: `Unfinished jobs are cancelled first. Refused while a worker holds a lease; \`tgi-pool pool delete --force\` deletes it all the same. A deletion that was interrupted is completed by the next request. ${RIGHTS}`,
      parameters: [POOL, ANY_CORRELATION],
      responses: { 204: empty('Deleted'), ...errors(404, 409) },
    },
  },
  '/v1/pools/{pool}/replicas/{replica}/drain': {
    post: {
      operationId: 'drain',
      tags: ['pools'],
      summary: 'Stop a replica from taking jobs until it is undrained',
      description: `Survives worker restarts. Answers at once; the replica’s entry shows when nothing runs on it. ${RIGHTS}`,
      parameters: [POOL, REPLICA, ANY_CORRELATION],
      requestBody: {
        required: false,
        content: json('DrainRequest', { grace: { value: { grace_ms: 20_000 } } }),
      },
      responses: { 200: answer('It takes no jobs', 'Drained'), ...errors(404, 413, 415) },
    },
  },
  '/v1/pools/{pool}/replicas/{replica}/undrain': {
    post: {
      operationId: 'undrain',
      tags: ['pools'],
      summary: 'Let a replica take jobs again',
      description: RIGHTS,
      parameters: [POOL, REPLICA, ANY_CORRELATION],
      responses: { 200: answer('It may take jobs', 'Undrained'), ...errors(404) },
    },
  },
}

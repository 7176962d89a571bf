import { z } from 'zod'
import { EVENT_SCHEMAS } from '../contract/event.ts'
import { jobIdSchema, poolIdSchema } from '../contract/ids.ts'
import { jobSchema } from '../contract/job.ts'
import { jobStateSchema } from '../contract/job-state.ts'
import { poolConfigSchema } from '../contract/pool-config.ts'
import { errorEnvelopeSchema } from '../http/envelope.ts'
import { withCodeSamples } from './code-samples.ts'
import { addressSchema, cancelSchema } from './job-routes.ts'
import { errorExamples, errorTable, eventSchemaName } from './openapi-parts.ts'
import type { Json } from './openapi-parts.ts'
import { LIST_PATHS, LIST_SCHEMAS } from './openapi-lists.ts'
import { OPERATOR_PATHS, OPERATOR_SCHEMAS } from './openapi-operator.ts'
import { PATHS } from './openapi-paths.ts'
import { drainSchema } from './operator-routes.ts'

/** The answer to a job that was accepted. */
const acceptedSchema = z.object({
  job_id: jobIdSchema,
  pool: poolIdSchema,
  queue_position: z.number().int().nonnegative().describe('jobs ahead of it then, from 0'),
  predicted_start_ms: z
    .number()
    .nonnegative()
    .optional()
    .describe("how long it was expected to wait then (ms), when the pool's pace was known"),
  existing: z.boolean().describe('the id had been accepted before with the same body: this is that job'),
  events: z.string().describe('where its events are'),
})

/** The answer to a job that was over in time. */
const finishedSchema = jobStateSchema.extend({
  pool: poolIdSchema.describe('the same as `pool_id`, as without `wait`'),
  events: z.string().describe('where its events are'),
})

const cancelledSchema = z.object({
  job_id: jobIdSchema,
  outcome: z
    .enum(['cancelled', 'already_over'])
    .describe('`already_over`: it had ended before, and its terminal event stays what it is'),
})

const poolsSchema = z.object({
  pools: z.array(
    z.object({
      pool_id: poolIdSchema,
      config: poolConfigSchema.optional().describe('absent when it cannot be read'),
      error: z.string().optional().describe('why the config cannot be read'),
    }),
  ),
})

const healthSchema = z.object({ status: z.string(), reason: z.string().optional() })

const DESCRIPTION = `A durable queue in front of Text Generation Inference replicas, and a replayable event stream behind them.

Put a job in with \`POST /v1/jobs\`, and either wait for its answer in the same request (\`?wait=30\`), or read its events from
\`/v1/jobs/{id}/events\`, as often and from wherever you like: the id of an event is the cursor to resume after. Leaving either does
not cancel the job. Every accepted job ends in exactly one \`end\` or \`error\` event. The text of an answer is \`text\` of its \`end\`:
\`end.text\` in a job's state.

Where the gateway has bearer keys, each request needs one: \`Authorization: Bearer <key>\`.

## Job ids

Whoever knows a job's id may read, cancel and erase the job, so ids that are made here cannot be guessed. A \`job_id\` of your own,
or an \`Idempotency-Key\` that fits the rules of job ids (1 to 128 of \`A-Z a-z 0-9 . _ -\`, not digits only), becomes the job's id
as it is: anyone who can guess it has the job, so use random bits, such as a UUID. Any other key becomes \`key-\` and a hash
(hex) of the pool's name, a line feed and the key. With bearer keys this is the HMAC-SHA-256 whose key is the SHA-256 of the caller's
bearer key: no other caller can compute it, and another bearer key gives another id. Without bearer keys it is the plain SHA-256, which
can be guessed as well as the key.

## Connections

The requests of a connection are answered one at a time, in order. So one connection carries one event stream at a time. A gateway
bounds its open event streams, and the requests that wait for the end of a job, in all and for each caller (keys of one name are one caller). One event stream more is
refused (503 \`OVERLOADED\`, 429 \`TOO_MANY_STREAMS\`); one job more is accepted without a wait (202).

Every response has an \`X-Correlation-Id\`: the request's, or one that was made.

## Errors

Every error has the same envelope (\`Error\`); \`retriable\` says whether the same request may work later, \`Retry-After\` when.

${errorTable()}`

/** The OpenAPI 3.1 document of the gateway, from the schemas that it checks with. */
export function buildOpenApi(): Json {
  return {
    openapi: '3.1.1',
    info: {
      title: 'tgi-pool gateway',
      version: '1.0.0',
      description: DESCRIPTION,
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: '/' }],
    tags: [
      { name: 'jobs', description: 'Put in, read, cancel, erase' },
      { name: 'pools', description: 'List, drain, delete' },
      { name: 'operation', description: 'For probes and people' },
    ],
    security: [{}, { bearer: [] }],
    paths: withCodeSamples(joinPaths(PATHS as Record<string, Json>, { ...LIST_PATHS, ...OPERATOR_PATHS })),
    components: {
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          description:
            'The key on a line of the gateway’s file of bearer keys. A line `name+operate key` gives the key the scope `operate`. A gateway on loopback may have none',
        },
      },
      schemas: {
        JobRequest: jobRequest(),
        Accepted: convert(acceptedSchema, 'output'),
        Finished: convert(finishedSchema, 'output'),
        JobState: convert(jobStateSchema, 'output'),
        CancelRequest: convert(cancelSchema, 'input'),
        Cancelled: convert(cancelledSchema, 'output'),
        DrainRequest: convert(drainSchema, 'input'),
        Pools: convert(poolsSchema, 'output'),
        Health: convert(healthSchema, 'output'),
        Error: convert(errorEnvelopeSchema, 'output'),
        ...Object.fromEntries(
          Object.entries({ ...LIST_SCHEMAS, ...OPERATOR_SCHEMAS }).map(([name, schema]) => [
            name,
            convert(schema, 'output'),
          ]),
        ),
        ...eventSchemas(),
      },
      examples: errorExamples(),
    },
  }
}

/** Paths with the methods of both. */
function joinPaths(paths: Readonly<Record<string, Json>>, more: Readonly<Record<string, Json>>): Json {
  const joined = { ...paths }
  for (const [path, methods] of Object.entries(more)) joined[path] = { ...joined[path], ...methods }
  return joined
}

/** A job and where it goes: one flat object. */
function jobRequest(): Json {
  const job = convert(jobSchema, 'input')
  const address = convert(addressSchema, 'input')
  return {
    ...job,
    properties: { ...(address['properties'] as Json), ...(job['properties'] as Json) },
    required: ['pool'],
    // What zod checks in code: one prompt, given in one of two ways.
    oneOf: [{ required: ['inputs'] }, { required: ['messages'] }],
  }
}

/** The `data` of each event, for readers of the event stream. */
function eventSchemas(): Json {
  return Object.fromEntries(
    Object.entries(EVENT_SCHEMAS).map(([name, schema]) => [
      eventSchemaName(name),
      { description: `The \`data\` of a \`${name}\` event, as JSON`, ...convert(schema, 'output') },
    ]),
  )
}

function convert(schema: z.ZodType, io: 'input' | 'output'): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, target: 'draft-2020-12' })
  return rest
}

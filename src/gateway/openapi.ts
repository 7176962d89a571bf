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

/** The response for an accepted job. */
const acceptedSchema = z.object({
  job_id: jobIdSchema,
  pool: poolIdSchema,
  queue_position: z.number().int().nonnegative().describe('Jobs ahead of it at that time, from 0'),
  predicted_start_ms: z
    .number()
    .nonnegative()
    .optional()
    .describe("Expected wait at that time (ms). Absent when the pool's pace was unknown"),
  existing: z
    .boolean()
    .describe('Whether a job with this id and body had been accepted before: this is that job'),
  events: z.string().describe('URL of its events'),
})

/** The response for a job that ended in time. */
const finishedSchema = jobStateSchema.extend({
  pool: poolIdSchema.describe('The same as `pool_id`, under the name that the response has without `wait`'),
  events: z.string().describe('URL of its events'),
})

const cancelledSchema = z.object({
  job_id: jobIdSchema,
  outcome: z
    .enum(['cancelled', 'already_over'])
    .describe('`already_over`: it had already ended, and its terminal event is unchanged'),
})

const poolsSchema = z.object({
  pools: z.array(
    z.object({
      pool_id: poolIdSchema,
      config: poolConfigSchema.optional().describe('The settings. Absent when they cannot be read'),
      error: z.string().optional().describe('Why the settings cannot be read'),
    }),
  ),
})

const healthSchema = z.object({ status: z.string(), reason: z.string().optional() })

const DESCRIPTION = `A durable queue in front of Text Generation Inference replicas, and a replayable event stream behind them.

Enqueue a job with \`POST /v1/jobs\`. Then either wait for its answer in the same request (\`?wait=30\`), or read its events from
\`/v1/jobs/{id}/events\`, as often as you like and from any event on: the id of an event is the cursor to resume after. Disconnecting
does not cancel the job. Every accepted job ends with exactly one \`end\` or \`error\` event. The text of the answer is the \`text\` of its
\`end\` event, and \`end.text\` in the job's state.

If the gateway has bearer keys, each request needs one: \`Authorization: Bearer <key>\`.

## Job ids

Anyone who knows a job's id can read, cancel and erase the job, so generated ids cannot be guessed. A \`job_id\` that you choose,
or an \`Idempotency-Key\` that is a valid job id (1 to 128 characters of \`A-Z a-z 0-9 . _ -\`, not digits only), becomes the job's id
unchanged. Anyone who can guess it can access the job, so make it random, such as a UUID. Any other key becomes \`key-\` and a hash
(hex) of the pool's name, a line feed and the key. With bearer keys, this is the HMAC-SHA-256 keyed with the SHA-256 of the caller's
bearer key: no other caller can compute it, and a different bearer key gives a different id. Without bearer keys it is the plain SHA-256,
which is as easy to guess as the key.

## Connections

The requests of a connection are handled one at a time, in order, so a connection carries one event stream at a time. A gateway
limits the open event streams and the requests that wait for a job to end, in total and per caller (keys with the same name are one
caller). Beyond the limit, an event stream is refused (503 \`OVERLOADED\`, 429 \`TOO_MANY_STREAMS\`), and a job is accepted without
waiting (202).

Every response has an \`X-Correlation-Id\`: the request's, or a generated one.

## Errors

Every error has the same envelope (\`Error\`). \`retriable\` says whether the same request may succeed later; \`Retry-After\` says when.

${errorTable()}`

/** The OpenAPI 3.1 document of the gateway, made from the schemas that validate requests. */
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
      { name: 'jobs', description: 'Enqueue, read, cancel and erase jobs' },
      { name: 'pools', description: 'Pools and their replicas' },
      { name: 'operation', description: 'Probes, the start page and this document' },
    ],
    security: [{}, { bearer: [] }],
    paths: withCodeSamples(joinPaths(PATHS as Record<string, Json>, { ...LIST_PATHS, ...OPERATOR_PATHS })),
    components: {
      securitySchemes: {
        bearer: {
          type: 'http',
          scheme: 'bearer',
          description:
            'A key from the gateway’s file of bearer keys. A line `name+operate key` gives the key the scope `operate`. A gateway on loopback may have no keys',
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

/** A job and its address (pool, id) in one flat object. */
function jobRequest(): Json {
  const job = convert(jobSchema, 'input')
  const address = convert(addressSchema, 'input')
  return {
    ...job,
    properties: { ...(address['properties'] as Json), ...(job['properties'] as Json) },
    required: ['pool'],
    // zod checks this in code: exactly one kind of prompt.
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

import { z } from 'zod'
import { EVENT_SCHEMAS } from '../contract/event.ts'
import { jobIdSchema, labelSchema, poolIdSchema } from '../contract/ids.ts'
import { ERROR_EXAMPLES, EXAMPLE_JOB_ID } from './openapi-examples.ts'

/** Any JSON Schema, or part of the document. */
export type Json = Record<string, unknown>

/** On every answer. */
export const CORRELATION_HEADER = {
  'X-Correlation-Id': {
    description: "The request's, or a generated one",
    schema: pattern(labelSchema),
  },
}

const RETRY_HEADER = {
  'Retry-After': { description: 'Seconds', schema: { type: 'integer', minimum: 0 } },
}

/** The parameter that names a job. */
export const JOB_ID = {
  name: 'id',
  in: 'path',
  required: true,
  description: 'The job’s id',
  schema: pattern(jobIdSchema),
  example: EXAMPLE_JOB_ID,
}

/** The parameter that names a job's pool. */
export const POOL = {
  name: 'pool',
  in: 'query',
  description: 'The job’s pool; without it all pools are searched',
  schema: pattern(poolIdSchema),
}

/** The parameter that names the request. */
export const CORRELATION = {
  name: 'X-Correlation-Id',
  in: 'header',
  description: 'Names the request in logs and in the answer',
  schema: pattern(labelSchema),
}

/** The same on routes that pass it to no job: one that does not fit is replaced, as proxies write their own. */
export const ANY_CORRELATION = {
  ...CORRELATION,
  description: 'Names the request in logs and in the answer; a value that does not fit is replaced',
  schema: { type: 'string' },
}

/** What any route may say, whatever it is asked; each with the codes that come with it. */
const EVERYWHERE = [400, 401, 403, 408, 431, 500, 503] as const

function pattern(schema: z.ZodType): Json {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: 'input' })
  return rest
}

/** Content that is JSON of one of the document's schemas. */
export function json(schema: string, examples?: Json): Json {
  return {
    'application/json': {
      schema: { $ref: `#/components/schemas/${schema}` },
      ...(examples === undefined ? {} : { examples }),
    },
  }
}

/** An answer that is JSON. */
export function answer(description: string, schema: string, headers: Json = {}): Json {
  return { description, headers: { ...CORRELATION_HEADER, ...headers }, content: json(schema) }
}

/** An answer without a body. */
export function empty(description: string): Json {
  return { description, headers: CORRELATION_HEADER }
}

/** Error answers: those of every route, and more. */
export function errors(...more: (keyof typeof ERROR_EXAMPLES)[]): Json {
  return Object.fromEntries(
    [...EVERYWHERE, ...more]
      .toSorted((a, b) => a - b)
      .map((status) => {
        const { description, examples } = ERROR_EXAMPLES[status]
        const headers = { ...CORRELATION_HEADER, ...(status === 429 || status === 503 ? RETRY_HEADER : {}) }
        return [status, { description, headers, content: json('Error', examples) }]
      }),
  )
}

/** The schema of an event's id. */
export function cursor(): Json {
  return {
    type: 'string',
    maxLength: 33,
    // An empty one is none, as a proxy may send it.
    pattern: '^((0|[1-9][0-9]{0,15})-(0|[1-9][0-9]{0,15}))?$',
  }
}

/** One event of a stream. OpenAPI 3.1 has no word for "each of them"; readers of it take this for that. */
export function eventSchema(): Json {
  const fields = (name: string, data: Json) => ({
    type: 'object',
    properties: { id: cursor(), event: { const: name }, data },
    required: ['id', 'event', 'data'],
  })
  return {
    description: 'Each event',
    oneOf: [
      ...Object.keys(EVENT_SCHEMAS).map((name) =>
        fields(name, {
          type: 'string',
          contentMediaType: 'application/json',
          contentSchema: { $ref: `#/components/schemas/${eventSchemaName(name)}` },
        }),
      ),
      fields('restart', { type: 'string', contentMediaType: 'application/json' }),
    ],
  }
}

/** The name of the schema of an event's `data`. */
export function eventSchemaName(event: string): string {
  return `Event${event[0]?.toUpperCase()}${event.slice(1)}`
}

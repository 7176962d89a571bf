import { z } from 'zod'
import { EVENT_SCHEMAS } from '../contract/event.ts'
import { jobIdSchema, labelSchema, poolIdSchema } from '../contract/ids.ts'
import { CURSOR_PATTERN } from './cursor.ts'
import { ERROR_EXAMPLES, EXAMPLE_JOB_ID } from './openapi-examples.ts'

/** Any JSON Schema, or part of the document. */
export type Json = Record<string, unknown>

/** The headers of every response. */
export const CORRELATION_HEADER = {
  'X-Correlation-Id': {
    description: "The request's id, or a generated one",
    schema: pattern(labelSchema),
  },
}

const RETRY_HEADER = {
  'Retry-After': {
    description: 'How long to wait before a retry (seconds)',
    schema: { type: 'integer', minimum: 0 },
  },
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
  description: 'The job’s pool. Without it, all pools are searched',
  schema: pattern(poolIdSchema),
}

/** The parameter that names the request. */
export const CORRELATION = {
  name: 'X-Correlation-Id',
  in: 'header',
  description: 'Identifies the request in logs and in the response',
  schema: pattern(labelSchema),
}

/** The same on routes that do not pass it to a job: an invalid value is replaced, because proxies write their own. */
export const ANY_CORRELATION = {
  ...CORRELATION,
  description: 'Identifies the request in logs and in the response; an invalid value is replaced',
  schema: { type: 'string' },
}

type ErrorStatus = keyof typeof ERROR_EXAMPLES

/** Error statuses that any route may return. */
const EVERYWHERE: readonly ErrorStatus[] = [400, 401, 403, 408, 431, 500, 503]
/** The same for routes that need neither key nor Redis. */
const OPEN: readonly ErrorStatus[] = [400, 403, 408, 431, 500]

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

/** A JSON response. */
export function answer(description: string, schema: string, headers: Json = {}): Json {
  return { description, headers: { ...CORRELATION_HEADER, ...headers }, content: json(schema) }
}

/** A response without a body. */
export function empty(description: string): Json {
  return { description, headers: CORRELATION_HEADER }
}

/** Error responses of a route: those of every route, and more. */
export function errors(...more: readonly ErrorStatus[]): Json {
  return errorRanges([...EVERYWHERE, ...more])
}

/** Error responses of a route that needs neither key nor Redis. */
export function openErrors(): Json {
  return errorRanges(OPEN)
}

/**
 * A route's error responses as two ranges, so that its own responses stand out and the same rows are not repeated for each route.
 * `x-statuses` lists the statuses of a range; the table of errors in the document's description says when each occurs.
 */
function errorRanges(statuses: readonly ErrorStatus[]): Json {
  const range = (name: string, description: string, within: readonly ErrorStatus[], headers: Json) => ({
    [name]: {
      description: `${description} (${within.join(', ')}): \`error.code\` says why (see Errors)`,
      headers: { ...CORRELATION_HEADER, ...headers },
      content: json(
        'Error',
        Object.fromEntries(
          within
            .flatMap((status) => Object.keys(ERROR_EXAMPLES[status].examples))
            .map((code) => [code, { $ref: `#/components/examples/${code}` }]),
        ),
      ),
      'x-statuses': within,
    },
  })
  const sorted = statuses.toSorted((a, b) => a - b)
  const refused = sorted.filter((status) => status < 500)
  const failed = sorted.filter((status) => status >= 500)
  return {
    ...range('4XX', 'Refused', refused, refused.includes(429) ? RETRY_HEADER : {}),
    ...range('5XX', 'Failed', failed, failed.includes(503) ? RETRY_HEADER : {}),
  }
}

/** The schema of an event's id, as a request gives it. */
export function cursor(): Json {
  return { type: 'string', pattern: CURSOR_PATTERN }
}

/** Each error code, its status, and an example. */
export function errorExamples(): Json {
  return Object.assign({}, ...Object.values(ERROR_EXAMPLES).map(({ examples }) => examples)) as Json
}

/** The errors of all routes as a table (Markdown). */
export function errorTable(): string {
  const rows = Object.entries(ERROR_EXAMPLES).map(
    ([status, { description, examples }]) =>
      `| ${status} | ${Object.keys(examples)
        .map((code) => `\`${code}\``)
        .join(', ')} | ${description} |`,
  )
  return ['| status | `error.code` | when |', '|---|---|---|', ...rows].join('\n')
}

/** One event of a stream. OpenAPI 3.1 cannot describe the items of a stream; tools read this as the item's schema. */
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

import { CANCEL_EXAMPLE, CHAT_EXAMPLE, JOB_EXAMPLE } from './openapi-examples.ts'
import {
  ANY_CORRELATION,
  CORRELATION,
  CORRELATION_HEADER,
  JOB_ID,
  POOL,
  answer,
  cursor,
  empty,
  errors,
  eventSchema,
  json,
} from './openapi-parts.ts'
import type { Json } from './openapi-parts.ts'

/** Where the job of an answer goes from there. */
const LINKS = Object.fromEntries(
  ['job', 'events', 'cancel', 'forget'].map((operationId) => [
    operationId,
    {
      operationId,
      parameters: { id: '$response.body#/job_id', pool: '$response.body#/pool' },
    },
  ]),
)

const LOCATION = { Location: { description: 'URL of the job’s state', schema: { type: 'string' } } }

/** The paths of the OpenAPI document: every status that a route can answer. */
export const PATHS: Json = {
  '/v1/jobs': {
    post: {
      operationId: 'enqueue',
      tags: ['jobs'],
      summary: 'Put a job in the queue',
      description:
        'When this answers, the job will reach its terminal event whatever dies. The same id (or Idempotency-Key) with the same body is the same job: answered again, with `existing: true`.\n\nWith `Accept: text/event-stream` the answer is the job’s event stream itself, as `/v1/jobs/{id}/events` has it: the job’s id is in `X-Job-Id`, and whoever loses the line goes on there, or sends the same request again, with its Idempotency-Key and `Last-Event-ID`. Leaving it does not cancel the job.',
      parameters: [
        CORRELATION,
        {
          name: 'Idempotency-Key',
          in: 'header',
          description: 'Makes the request safe to repeat; see above for the job id it maps to',
          schema: { type: 'string', minLength: 1, maxLength: 255 },
        },
        {
          name: 'Last-Event-ID',
          in: 'header',
          description:
            'The id of the last event that was seen, when a request for an event stream is repeated',
          schema: cursor(),
        },
      ],
      requestBody: {
        required: true,
        content: json('JobRequest', { prompt: { value: JOB_EXAMPLE }, chat: { value: CHAT_EXAMPLE } }),
      },
      responses: {
        200: {
          description: 'Accepted; the body is the event stream that `Accept` asked for',
          headers: {
            ...CORRELATION_HEADER,
            ...LOCATION,
            'X-Job-Id': { description: 'The job’s id', schema: JOB_ID.schema },
          },
          content: { 'text/event-stream': { schema: eventSchema() } },
        },
        202: { ...answer('Accepted', 'Accepted', LOCATION), links: LINKS },
        204: empty('The job is over and Last-Event-ID is its terminal event: nothing follows'),
        ...errors(404, 409, 410, 413, 415, 429),
      },
    },
  },
  '/v1/jobs/{id}': {
    get: {
      operationId: 'job',
      tags: ['jobs'],
      summary: 'A job’s state',
      parameters: [JOB_ID, POOL, ANY_CORRELATION],
      responses: { 200: answer('The job', 'JobState'), ...errors(404, 409) },
    },
    delete: {
      operationId: 'forget',
      tags: ['jobs'],
      summary: 'Erase a job: its prompt, its events, its place in the queue',
      description: 'One that is not over is cancelled first.',
      parameters: [JOB_ID, POOL, ANY_CORRELATION],
      responses: { 204: empty('Erased'), ...errors(404, 409) },
    },
  },
  '/v1/jobs/{id}/events': {
    get: {
      operationId: 'events',
      tags: ['jobs'],
      summary: 'A job’s events, live and from any point',
      description:
        'Server-Sent Events: `id` is the cursor to resume after, `event` the name, `data` JSON by the schemas `EventQueued`, `EventStarted`, `EventToken`, `EventMetrics`, `EventEnd`, `EventError`. The stream ends after `end` or `error`. An event `restart` (id `0-0`) says that Redis lost events: drop what was read, it begins again. Silence is filled with comments. When the bearer key is revoked or the gateway stops, the stream ends early, with the reason in a comment; the next request gets 401, or goes on at another gateway.',
      parameters: [
        JOB_ID,
        POOL,
        {
          name: 'Last-Event-ID',
          in: 'header',
          description: 'The id of the last event that was read; overrides `after`',
          schema: cursor(),
        },
        {
          name: 'after',
          in: 'query',
          description: 'The same, for readers that cannot set headers',
          schema: cursor(),
        },
        ANY_CORRELATION,
      ],
      responses: {
        200: {
          description: 'Events',
          headers: CORRELATION_HEADER,
          content: { 'text/event-stream': { schema: eventSchema() } },
        },
        204: empty('The cursor is the terminal event: nothing follows, do not come again'),
        ...errors(404, 409, 410, 429),
      },
    },
  },
  '/v1/jobs/{id}/cancel': {
    post: {
      operationId: 'cancel',
      tags: ['jobs'],
      summary: 'Cancel a job, waiting or running',
      description: 'No token follows after the response.',
      parameters: [JOB_ID, POOL, ANY_CORRELATION],
      requestBody: { required: false, content: json('CancelRequest', { reason: { value: CANCEL_EXAMPLE } }) },
      responses: { 200: answer('It is over', 'Cancelled'), ...errors(404, 409, 413, 415) },
    },
  },
  '/v1/pools': {
    get: {
      operationId: 'pools',
      tags: ['pools'],
      summary: 'All pools and their configs',
      parameters: [ANY_CORRELATION],
      responses: { 200: answer('The pools, by name', 'Pools'), ...errors() },
    },
  },
  '/livez': { get: probe('livez', 'Whether the process answers') },
  '/readyz': {
    get: probe('readyz', 'Whether it can do its work', { 503: answer('Redis does not answer', 'Health') }),
  },
  '/openapi.json': {
    get: page('openapi', 'This document', { 'application/json': { schema: { type: 'object' } } }),
  },
  '/docs': { get: page('docs', 'This document, to read', { 'text/html': { schema: { type: 'string' } } }) },
}

/** What needs no key and no Redis. */
function open(): Json {
  const { 401: _, 503: __, ...rest } = errors() as Record<number, unknown>
  return rest
}

function probe(operationId: string, summary: string, more: Json = {}): Json {
  return {
    operationId,
    tags: ['operation'],
    summary,
    security: [],
    parameters: [ANY_CORRELATION],
    responses: { 200: answer('It does', 'Health'), ...open(), ...more },
  }
}

function page(operationId: string, summary: string, content: Json): Json {
  return {
    operationId,
    tags: ['operation'],
    summary,
    security: [],
    parameters: [ANY_CORRELATION],
    responses: { 200: { description: 'It', headers: CORRELATION_HEADER, content }, ...open() },
  }
}

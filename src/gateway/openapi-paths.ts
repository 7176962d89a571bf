import { IDEMPOTENCY_KEY_PATTERN } from './idempotency.ts'
import { CANCEL_EXAMPLE, CHAT_EXAMPLE, FINISHED_EXAMPLE, JOB_EXAMPLE } from './openapi-examples.ts'
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
  openErrors,
} from './openapi-parts.ts'
import type { Json } from './openapi-parts.ts'
import { MAX_WAIT_S } from './wait-time.ts'

/** Links from a response to operations on its job; `poolField` is the field of its body that names the pool. */
function links(poolField: 'pool' | 'pool_id', operationIds: readonly string[]): Json {
  return Object.fromEntries(
    operationIds.map((operationId) => [
      operationId,
      {
        operationId,
        parameters: { id: '$response.body#/job_id', pool: `$response.body#/${poolField}` },
      },
    ]),
  )
}

const AFTER_POST = links('pool', ['job', 'events', 'cancel', 'forget'])
const AFTER_STATE = links('pool_id', ['events', 'cancel', 'forget'])

const PREFERENCE_APPLIED = {
  'Preference-Applied': {
    description: '`wait=N` when `Prefer` was obeyed (RFC 7240)',
    schema: { type: 'string', pattern: '^wait=[0-9]{1,2}$' },
  },
}

const LOCATION = { Location: { description: 'URL of the job’s state', schema: { type: 'string' } } }

const ENQUEUE = `Once this responds, the job will reach its terminal event, whatever crashes. The same id (or Idempotency-Key) with the same body is the same job: the response is repeated, with \`existing: true\`.

With \`?wait=N\` or \`Prefer: wait=N\`, the response comes when the job ends: 200 with its state, as in \`/v1/jobs/{id}\`. \`state\` says how it ended. The text of the answer is \`end.text\`, as in every state and every \`end\` event. A job that failed or was cancelled is also 200, because the request succeeded; \`error\` says why. If the job has not ended after N seconds, the response is 202, as without \`wait\`: follow \`events\`, or send the same request again with its Idempotency-Key. The response is 202 earlier if the gateway is stopping, or has reached its limit of event streams and waits.

With \`Accept: text/event-stream\`, the response is the job’s event stream, as in \`/v1/jobs/{id}/events\`, and \`wait\` is ignored. The job’s id is in \`X-Job-Id\`. A client that loses the connection resumes at \`/v1/jobs/{id}/events\`, or sends the same request again with its Idempotency-Key and \`Last-Event-ID\`.

Disconnecting does not cancel the job.`

/** The paths of the OpenAPI document, with every status that a route can return. */
export const PATHS: Json = {
  '/v1/jobs': {
    post: {
      operationId: 'enqueue',
      tags: ['jobs'],
      summary: 'Put a job in the queue',
      description: ENQUEUE,
      parameters: [
        {
          name: 'wait',
          in: 'query',
          description:
            'How long to wait for the job to end (seconds); overrides `Prefer`. Many proxies close a request that is silent for 60 s: stay below that',
          schema: { type: 'integer', minimum: 0, maximum: MAX_WAIT_S },
          example: 30,
        },
        {
          name: 'Prefer',
          in: 'header',
          description: `\`wait=N\`: the same as a preference (RFC 7240). A value above ${MAX_WAIT_S} counts as ${MAX_WAIT_S}; an invalid one is ignored`,
          schema: { type: 'string' },
        },
        CORRELATION,
        {
          name: 'Idempotency-Key',
          in: 'header',
          description:
            'Makes the request safe to repeat: the same key is the same job (see Job ids). 1 to 255 ASCII characters, quoted or not',
          schema: { type: 'string', pattern: IDEMPOTENCY_KEY_PATTERN },
        },
        {
          name: 'Last-Event-ID',
          in: 'header',
          description: 'The id of the last event received, when a request for an event stream is repeated',
          schema: cursor(),
        },
      ],
      requestBody: {
        required: true,
        content: json('JobRequest', { prompt: { value: JOB_EXAMPLE }, chat: { value: CHAT_EXAMPLE } }),
      },
      responses: {
        200: {
          description:
            'Accepted and ended within `wait`: the job’s state. Or the event stream, if `Accept` asks for it',
          headers: {
            ...CORRELATION_HEADER,
            ...LOCATION,
            ...PREFERENCE_APPLIED,
            'X-Job-Id': { description: 'The job’s id, with an event stream', schema: JOB_ID.schema },
          },
          content: {
            ...json('Finished', { ended: { value: FINISHED_EXAMPLE } }),
            'text/event-stream': { schema: eventSchema() },
          },
          links: AFTER_POST,
        },
        202: { ...answer('Accepted', 'Accepted', { ...LOCATION, ...PREFERENCE_APPLIED }), links: AFTER_POST },
        204: empty('The job has ended and Last-Event-ID is its terminal event: nothing follows'),
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
      responses: { 200: { ...answer('The job', 'JobState'), links: AFTER_STATE }, ...errors(404, 409) },
    },
    delete: {
      operationId: 'forget',
      tags: ['jobs'],
      summary: 'Erase a job: its prompt, its events, its place in the queue',
      description: 'A job that has not ended is cancelled first.',
      parameters: [JOB_ID, POOL, ANY_CORRELATION],
      responses: { 204: empty('Erased'), ...errors(404, 409) },
    },
  },
  '/v1/jobs/{id}/events': {
    get: {
      operationId: 'events',
      tags: ['jobs'],
      summary: 'A job’s events, live and after any event',
      description:
        'Server-Sent Events: `id` is the cursor to resume after, `event` the name, `data` is JSON with the schema `EventQueued`, `EventStarted`, `EventToken`, `EventMetrics`, `EventEnd` or `EventError`. The stream ends after `end` or `error`. A `restart` event (id `0-0`) means that Redis lost events: drop what you have read; the events start again. A silent stream gets comments. When the bearer key is revoked or the gateway stops, the stream ends early, with the reason in a comment; the next request gets 401, or resumes at another gateway.',
      parameters: [
        JOB_ID,
        POOL,
        {
          name: 'Last-Event-ID',
          in: 'header',
          description: 'The id of the last event received; overrides `after`',
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
        204: empty('The cursor is the terminal event: nothing follows, so do not reconnect'),
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
      responses: { 200: answer('The job has ended', 'Cancelled'), ...errors(404, 409, 413, 415) },
    },
  },
  '/v1/pools': {
    get: {
      operationId: 'pools',
      tags: ['pools'],
      summary: 'All pools and their settings',
      parameters: [ANY_CORRELATION],
      responses: { 200: answer('The pools, by name', 'Pools'), ...errors() },
    },
  },
  '/livez': { get: probe('livez', 'Liveness probe') },
  '/readyz': {
    get: probe('readyz', 'Readiness probe: whether Redis answers', {
      503: answer('Redis does not answer', 'Health'),
    }),
  },
  '/openapi.json': {
    get: page('openapi', 'This document', { 'application/json': { schema: { type: 'object' } } }),
  },
  '/': {
    get: page('front', 'The start page', { 'text/html': { schema: { type: 'string' } } }),
  },
  '/docs': {
    get: page('docs', 'This document as a readable page', { 'text/html': { schema: { type: 'string' } } }),
  },
}

function probe(operationId: string, summary: string, more: Json = {}): Json {
  return {
    operationId,
    tags: ['operation'],
    summary,
    security: [],
    parameters: [ANY_CORRELATION],
    responses: { 200: answer('OK', 'Health'), ...openErrors(), ...more },
  }
}

function page(operationId: string, summary: string, content: Json): Json {
  return {
    operationId,
    tags: ['operation'],
    summary,
    security: [],
    parameters: [ANY_CORRELATION],
    responses: { 200: { description: 'OK', headers: CORRELATION_HEADER, content }, ...openErrors() },
  }
}

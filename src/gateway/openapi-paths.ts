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

/** What can be done next with the job of a response, whose body names the pool in a field. */
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

const ENQUEUE = `When this answers, the job will reach its terminal event whatever dies. The same id (or Idempotency-Key) with the same body is the same job: answered again, with \`existing: true\`.

With \`?wait=N\` or \`Prefer: wait=N\` the answer comes when the job is over: 200 with its state, as \`/v1/jobs/{id}\` has it. \`state\` says how it ended. The text of the answer is \`end.text\`, as in every state and every \`end\` event. A job that failed or was cancelled is 200, too, and \`error\` says why: the request went well. If the job is not over after N seconds, the answer is 202, as without \`wait\`: read on at \`events\`, or send the same request again with its Idempotency-Key. It is 202 before that if the gateway stops, or has as many event streams and waits open as it may.

With \`Accept: text/event-stream\` the answer is the job’s event stream itself, as \`/v1/jobs/{id}/events\` has it, and \`wait\` means nothing: the job’s id is in \`X-Job-Id\`, and a client that loses the connection resumes there, or sends the same request again, with its Idempotency-Key and \`Last-Event-ID\`.

To leave does not cancel the job, whether waiting or reading.`

/** The paths of the OpenAPI document: every status that a route can answer. */
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
            'How long to wait for the end of the job (seconds); overrides `Prefer`. Many proxies cut a request that is silent for 60 s: stay below',
          schema: { type: 'integer', minimum: 0, maximum: MAX_WAIT_S },
          example: 30,
        },
        {
          name: 'Prefer',
          in: 'header',
          description: `\`wait=N\`: the same as a preference (RFC 7240). One above ${MAX_WAIT_S} counts as ${MAX_WAIT_S}, and what cannot be read is ignored`,
          schema: { type: 'string' },
        },
        CORRELATION,
        {
          name: 'Idempotency-Key',
          in: 'header',
          description:
            'Makes the request safe to repeat: the same key is the same job (see Job ids). 1 to 255 ASCII characters, in quotes or not',
          schema: { type: 'string', pattern: IDEMPOTENCY_KEY_PATTERN },
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
          description:
            'Accepted, and over in the time that `wait` gives: the job’s state; or the event stream that `Accept` asked for',
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
      responses: { 200: { ...answer('The job', 'JobState'), links: AFTER_STATE }, ...errors(404, 409) },
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
  '/': {
    get: page('front', 'What this is, and where to go on', { 'text/html': { schema: { type: 'string' } } }),
  },
  '/docs': { get: page('docs', 'This document, to read', { 'text/html': { schema: { type: 'string' } } }) },
}

function probe(operationId: string, summary: string, more: Json = {}): Json {
  return {
    operationId,
    tags: ['operation'],
    summary,
    security: [],
    parameters: [ANY_CORRELATION],
    responses: { 200: answer('It does', 'Health'), ...openErrors(), ...more },
  }
}

function page(operationId: string, summary: string, content: Json): Json {
  return {
    operationId,
    tags: ['operation'],
    summary,
    security: [],
    parameters: [ANY_CORRELATION],
    responses: { 200: { description: 'It', headers: CORRELATION_HEADER, content }, ...openErrors() },
  }
}

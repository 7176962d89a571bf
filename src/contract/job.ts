/**
 * A job: what a producer puts in the queue and what every worker reads.
 *
 * Words, one meaning each: **job** the request · **attempt** one try at it · **epoch** the number that orders
 * attempts · **slot** one request a worker may hold open on its **replica** · **token** an LLM token, nothing
 * else · **event**, **stream**, **cursor** the log of a job and a place in it · **seal** the terminal event ·
 * **cancel** a user's wish, **abort** how code obeys it · **hand back** to give a job back to its queue unharmed
 * · **interruption** an attempt that ended without its answer · **lease** one worker's time-bound right to a
 * replica · **lock** BullMQ's hold on a job.
 */
import { createHash } from 'node:crypto'
import { z } from 'zod'
import { boundedArray } from './bounded.ts'
import { PoolError } from './error.ts'
import { MESSAGE_HINTS, jobHints } from './field-hints.ts'
import { labelSchema } from './ids.ts'
import { formatIssues } from './format-issues.ts'
import { parametersSchema } from './parameters.ts'
import { MAX_BODY_BYTES, MAX_DEPTH, MAX_KEYS, MAX_VALUES, checkShape } from './shape.ts'
import { kindOf, shown } from './shown.ts'
import { strictFields } from './unknown-fields.ts'

export type { ChatMessage, JobInput } from './wire-types.ts'

/** The version of this contract that a job carries in `v`. */
export const CONTRACT_VERSION = 1

/** Half a surrogate pair is not a character, and no replica accepts it. */
const text = z.string().refine((value) => value.isWellFormed(), {
  error: 'expected whole characters, got half of a surrogate pair',
})

/** A field of OpenAI's chats that is not supported yet; the error says what it belongs to. */
function ofTools(field: string) {
  const why = `${field} comes with the OpenAI-compatible routes and is not supported yet; leave it out`
  return z
    .never({ error: (issue) => `${why}, got ${kindOf(issue.input)}` })
    .optional()
    .describe('Not supported yet: leave it out')
}

/** Whether a value has two fields, of these names, and both are whole text. */
function isPair<A extends string, B extends string>(
  value: unknown,
  first: A,
  second: B,
): value is Readonly<Record<A | B, string>> {
  if (typeof value !== 'object' || value === null || Object.keys(value).length !== 2) return false
  const { [first]: one, [second]: two } = value as Readonly<Record<string, unknown>>
  return typeof one === 'string' && typeof two === 'string' && one.isWellFormed() && two.isWellFormed()
}

/** Most messages of a chat, and most parts of a message. */
const MAX_MESSAGES = 10_000
const MAX_PARTS = 10_000

/** A part of a message; only text is supported. */
const partSchema = z.strictObject({
  type: z.literal('text').describe('The only kind of part that is supported'),
  text: text.describe('The text of this part; the parts of a message are joined'),
})

/** A message of a chat, in the replica's own template's terms. */
const messageSchema = strictFields(
  {
    role: z
      .string()
      .min(1)
      .describe("The speaker, as named by the model's chat template: system, user, assistant, …"),
    name: ofTools('name'),
    tool_calls: ofTools('tool_calls'),
    tool_call_id: ofTools('tool_call_id'),
    content: z
      .union(
        [
          text,
          boundedArray(partSchema, {
            min: 1,
            max: MAX_PARTS,
            isPlain: (part) => isPair(part, 'type', 'text') && part.type === 'text',
          }),
        ],
        { error: `expected a string, or an array of 1 to ${MAX_PARTS} parts {type: "text", text}` },
      )
      .describe(`The content: a string, or 1 to ${MAX_PARTS} text parts`),
  },
  MESSAGE_HINTS,
)

/** BullMQ's priority numbers: lower goes first. */
export const PRIORITIES = { interactive: 10, batch: 20 } as const

/** From this number on, a job is a batch job: one that comes back unharmed goes ahead of its kind by one. */
export const FIRST_BATCH_PRIORITY = PRIORITIES.batch - 1

/** Interactive jobs go before batch jobs. */
export type Priority = keyof typeof PRIORITIES

/** A field that is not supported yet: refused by name rather than ignored. */
function notYet<const T extends string>(field: string, allowed: readonly T[]) {
  return z
    .literal(allowed, {
      error: (issue) =>
        `${field} ${shown(issue.input)} is not supported yet; expected ${allowed.map((a) => JSON.stringify(a)).join(' or ')}`,
    })
    .optional()
}

const jobFields = {
  v: z
    .literal(CONTRACT_VERSION, {
      error: (issue) =>
        `contract version ${shown(issue.input)} is not known here; expected ${CONTRACT_VERSION}. Upgrade workers before producers`,
    })
    .default(CONTRACT_VERSION)
    .describe('Version of this contract'),
  inputs: text
    .min(1, { error: 'the prompt is empty; expected at least one character' })
    .optional()
    .describe(
      "The prompt, given to the model as it is. At most the pool's `max_input_bytes`, with stop and grammar. A job has `inputs` or `messages`, never both",
    ),
  messages: boundedArray(messageSchema, {
    min: 1,
    max: MAX_MESSAGES,
    isPlain: (message) => isPair(message, 'role', 'content') && message.role !== '',
  })
    .optional()
    .describe(
      "A chat, rendered with the replica's own chat template, then generated like any prompt. At most the pool's `max_input_bytes`, with stop and grammar. A job has `inputs` or `messages`, never both",
    ),
  tools: ofTools('tools'),
  tool_choice: ofTools('tool_choice'),
  parameters: parametersSchema.default({}).describe('Generation parameters. Absent: greedy decoding'),
  priority: z
    .enum(['interactive', 'batch'])
    .default('interactive')
    .describe('Interactive jobs go before batch jobs'),
  deadline_ms: z
    .number()
    .int()
    .positive()
    .max(Number.MAX_SAFE_INTEGER / 4)
    .optional()
    .describe(
      "Time from acceptance within which the job must end, queue wait included (ms); after it the job ends in `error`. At most the pool's `max_deadline_ms`. Absent: the pool's `deadline_ms` or `batch_deadline_ms`",
    ),
  retention_ms: z
    .number()
    .int()
    .positive()
    .max(Number.MAX_SAFE_INTEGER / 4)
    .optional()
    .describe(
      "How long the events stay readable after the end (ms). At most the pool's `max_retention_ms`. Absent: the pool's `retention_ms`",
    ),
  determinism: notYet('determinism', ['best_effort']).describe(
    'How exactly a retried job must repeat its answer. Only `best_effort` is supported so far',
  ),
  on_interrupt: z
    .enum(['continue', 'replay', 'fail'])
    .optional()
    .describe(
      'What happens to an answer that is interrupted after its first token. `continue`: it continues from the text so far, or is replayed if that is not possible; `replay`: it is generated again and must repeat every published token before it continues; `fail`: it ends in `WORKER_RESET`. Absent: `continue`, or `replay` with a grammar',
    ),
  placement: z
    .never({ error: 'placement is not supported yet; leave it out' })
    .optional()
    .describe('Not supported yet: leave it out'),
  session_id: labelSchema
    .optional()
    .describe('For your own use, e.g. the conversation: 1 to 64 characters of `A-Z a-z 0-9 . _ -`'),
  correlation_id: labelSchema
    .optional()
    .describe('Your id for the job in logs and in `started`: 1 to 64 characters of `A-Z a-z 0-9 . _ -`'),
  tenant: labelSchema
    .optional()
    .describe('For your own use, e.g. your customer: 1 to 64 characters of `A-Z a-z 0-9 . _ -`'),
}

/** A job's body. Unknown fields are refused; so are, by name, fields that are not supported yet. */
export const jobSchema = strictFields(jobFields, jobHints(Object.keys(parametersSchema.shape)))
  .superRefine((job, context) => {
    const given = [job.inputs, job.messages].filter((prompt) => prompt !== undefined).length
    if (given === 1) return
    context.addIssue({
      code: 'custom',
      message: `expected inputs or messages, one of the two, got ${given === 0 ? 'neither' : 'both'}`,
    })
  })
  .describe(
    `Bounds of the whole job: ${MAX_BODY_BYTES} bytes of JSON, ${MAX_VALUES} values in total (objects, arrays, strings, numbers, true, false, null), ${MAX_KEYS} fields in one object, ${MAX_DEPTH} levels`,
  )

/** A job's body, checked, with defaults filled in. */
export type Job = z.infer<typeof jobSchema>

/**
 * Reads a job's body from outside.
 *
 * @throws {@link PoolError} `INVALID_PARAMS`
 */
export function parseJob(value: unknown): Job {
  checkShape(value, 'job')
  const result = jobSchema.safeParse(value, { reportInput: true })
  if (result.success) return result.data
  throw new PoolError('INVALID_PARAMS', `job: ${formatIssues(result.error)}`)
}

/** What distinguishes two bodies under one id: SHA-256 of the body as given, whatever the order of its keys. */
export function digestOf(body: unknown): string {
  return createHash('sha256')
    .update(JSON.stringify(sorted(body)))
    .digest('hex')
}

function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted)
  if (typeof value !== 'object' || value === null) return value
  const given = value as Readonly<Record<string, unknown>>
  const keys = Object.keys(given)
  // What is undefined is left out by JSON.stringify.
  const result: Record<string, unknown> = {}
  for (const key of isSorted(keys) ? keys : keys.toSorted()) {
    const inner = sorted(given[key])
    if (key !== '__proto__') result[key] = inner
    else Object.defineProperty(result, key, { value: inner, enumerable: true })
  }
  return result
}

function isSorted(keys: readonly string[]): boolean {
  return keys.every((key, index) => index === 0 || (keys[index - 1] ?? '') < key)
}

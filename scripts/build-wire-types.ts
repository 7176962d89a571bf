import { readFile } from 'node:fs/promises'
import { format } from 'oxfmt'
import type { FormatOptions } from 'oxfmt'
import { z } from 'zod'
import { EVENT_SCHEMAS } from '../src/contract/event.ts'
import { jobSchema } from '../src/contract/job.ts'
import { jobStateSchema } from '../src/contract/job-state.ts'
import { jobSummarySchema } from '../src/contract/job-summary.ts'
import { poolConfigSchema } from '../src/contract/pool-config.ts'
import { replicaEntrySchema } from '../src/contract/replica-entry.ts'

/** The JSON Schema keywords that this reads. */
interface Schema {
  readonly type?: string | readonly string[]
  readonly description?: string
  readonly properties?: Readonly<Record<string, Schema>>
  readonly required?: readonly string[]
  readonly items?: Schema
  readonly anyOf?: readonly Schema[]
  readonly enum?: readonly unknown[]
  readonly const?: unknown
  readonly not?: unknown
  readonly default?: unknown
  readonly additionalProperties?: unknown
  readonly minimum?: number
  readonly maximum?: number
  readonly exclusiveMinimum?: number
  readonly minLength?: number
  readonly maxLength?: number
  readonly minItems?: number
  readonly maxItems?: number
}

/** One interface to write: its doc comment and its fields. */
interface Interface {
  readonly doc: string
  readonly schema: Schema
  /** Interfaces of the objects inside, by path from here: `messages[]` is an element of `messages`. */
  readonly names?: Readonly<Record<string, string>>
  readonly extends?: string
  /** Whether comments state bounds: only for types that users write. */
  readonly isInput?: boolean
}

const job = toSchema(jobSchema, 'input')
const parameters = inside(job, 'parameters')
const chatMessage = elementOf(inside(job, 'messages'))
const started = toSchema(EVENT_SCHEMAS.started, 'output')
const token = toSchema(EVENT_SCHEMAS.token, 'output')
const config = toSchema(poolConfigSchema, 'output')
const replica = toSchema(replicaEntrySchema, 'output')

/** The comment of a field that only the other kind of job has. */
const PROMPTS = ['inputs', 'messages'] as const
const NAMES_IN_JOB = { 'messages[]': 'ChatMessage', parameters: 'GenerationParameters' }

const INTERFACES: Readonly<Record<string, Interface>> = {
  JobFields: {
    doc: 'What every job has beside its prompt. Bounds of the whole job: see `schemas/job.json`; a job beyond one is `INVALID_PARAMS`.',
    schema: without(job, PROMPTS),
    names: NAMES_IN_JOB,
    isInput: true,
  },
  PromptJob: {
    doc: 'A job whose prompt is a text.',
    schema: promptOf('inputs', 'messages'),
    names: NAMES_IN_JOB,
    extends: 'JobFields',
    isInput: true,
  },
  ChatJob: {
    doc: 'A job whose prompt is a chat.',
    schema: promptOf('messages', 'inputs'),
    names: NAMES_IN_JOB,
    extends: 'JobFields',
    isInput: true,
  },
  ChatMessage: {
    doc: "A message of a chat, in the terms of the model's own template.",
    schema: chatMessage,
    names: { 'content[]': 'TextPart' },
    isInput: true,
  },
  TextPart: {
    doc: 'A part of a message.',
    schema: elementOf(inside(chatMessage, 'content')),
    isInput: true,
  },
  GenerationParameters: {
    doc: "TGI's generation parameters under TGI's own names. Null is the same as absent. Unlike TGI, `temperature: 0`, `top_p: 1` and `top_k: 0` are accepted.",
    schema: parameters,
    isInput: true,
  },
  QueuedData: {
    doc: 'The `data` of a `queued` event: the job is accepted.',
    schema: toSchema(EVENT_SCHEMAS.queued, 'output'),
  },
  StartedData: {
    doc: 'The `data` of a `started` event: a worker begins an attempt.',
    schema: started,
    names: { resume: 'Resume' },
  },
  Resume: {
    doc: 'How an interrupted answer goes on.',
    schema: inside(started, 'resume'),
  },
  TokenData: {
    doc: 'The `data` of a `token` event. There is one for each token that the replica sends, empty and special ones too.',
    schema: token,
    names: { 'top[]': 'TopToken' },
  },
  TopToken: {
    doc: 'One of the most likely tokens in a place.',
    schema: elementOf(inside(token, 'top')),
  },
  MetricsData: {
    doc: 'The `data` of a `metrics` event: how the running attempt goes. A pool has them when its `metrics_interval_ms` is not 0.',
    schema: toSchema(EVENT_SCHEMAS.metrics, 'output'),
  },
  EndData: {
    doc: 'The `data` of an `end` event: the answer is complete, and nothing follows.',
    schema: toSchema(EVENT_SCHEMAS.end, 'output'),
  },
  ErrorData: {
    doc: 'The `data` of an `error` event: the job failed or was cancelled, and nothing follows.',
    schema: toSchema(EVENT_SCHEMAS.error, 'output'),
  },
  JobState: {
    doc: 'Where a job stands.',
    schema: toSchema(jobStateSchema, 'output'),
    names: { end: 'EndData', error: 'ErrorData' },
  },
  JobSummary: {
    doc: 'A job in a list.',
    schema: toSchema(jobSummarySchema, 'output'),
  },
  PoolConfig: {
    doc: "A pool's settings, whole.",
    schema: config,
    names: { pin: 'Pin' },
    isInput: true,
  },
  Pin: {
    doc: 'The build and model that a pool insists on.',
    schema: inside(config, 'pin'),
    isInput: true,
  },
  ReplicaEntry: {
    doc: 'A replica and the worker that serves it, or stands by for it.',
    schema: replica,
    names: { versions: 'Versions' },
  },
  Versions: {
    doc: "A replica's build, model and limits.",
    schema: inside(replica, 'versions'),
  },
}

const HEAD = `/**
 * The wire formats as types, with a comment on every field. Generated from the schemas by \`npm run schemas\`: their descriptions,
 * defaults and bounds become the comments. \`test/types/wire.ts\` checks that types and schemas agree.
 */
`

const JOB_INPUT = `
/**
 * A job's body as a producer writes it: exactly one of \`inputs\` and \`messages\`, and any field that should differ from its default.
 * Unknown fields are refused.
 */
export type JobInput = PromptJob | ChatJob
`

/** The source of src/contract/wire-types.ts. */
export async function buildWireTypes(): Promise<string> {
  const source = HEAD + Object.entries(INTERFACES).map(formatInterface).join('') + JOB_INPUT
  const style = JSON.parse(
    await readFile(new URL('../.oxfmtrc.json', import.meta.url), 'utf8'),
  ) as FormatOptions
  const { code, errors } = await format('wire-types.ts', source, style)
  if (errors.length > 0) throw new Error(errors.map(({ message }) => message).join('\n'))
  return code
}

function toSchema(schema: z.ZodType, io: 'input' | 'output'): Schema {
  return z.toJSONSchema(schema, { io, target: 'draft-2020-12' }) as Schema
}

/** The schema of a field; of its non-null variant if it is nullable. */
function inside(schema: Schema, field: string): Schema {
  const found = schema.properties?.[field]
  if (found === undefined)
    throw new Error(`no field ${field} in ${Object.keys(schema.properties ?? {}).join()}`)
  return found.anyOf?.find(({ properties }) => properties !== undefined) ?? found
}

function elementOf(schema: Schema): Schema {
  const items = schema.items ?? schema.anyOf?.find((one) => one.items !== undefined)?.items
  if (items === undefined) throw new Error('no array')
  return items
}

function without(schema: Schema, fields: readonly string[]): Schema {
  const kept = Object.entries(schema.properties ?? {}).filter(([name]) => !fields.includes(name))
  return { ...schema, properties: Object.fromEntries(kept) }
}

function promptOf(given: string, absent: string): Schema {
  const description = `A job with \`${given}\` has none`
  return {
    required: [given],
    properties: { [given]: inside(job, given), [absent]: { not: {}, description } },
  }
}

function formatInterface([name, of]: [string, Interface]): string {
  const base = of.extends === undefined ? '' : ` extends ${of.extends}`
  return `\n${comment([of.doc])}export interface ${name}${base} {\n${fieldsOf(of.schema, '', of)}}\n`
}

function fieldsOf({ properties = {}, required = [] }: Schema, path: string, of: Interface): string {
  return Object.entries(properties)
    .map(([name, schema]) => {
      const isOptional = !required.includes(name)
      const type = typeOf(schema, path + name, of)
      const undefinedToo = isOptional && type !== 'undefined' ? ' | undefined' : ''
      return `${comment(docOf(path + name, schema, of))}${name}${isOptional ? '?' : ''}: ${type}${undefinedToo}\n`
    })
    .join('')
}

function typeOf(schema: Schema, path: string, of: Interface): string {
  const name = of.names?.[path]
  if (name !== undefined && schema.properties !== undefined) return name
  if (schema.not !== undefined) return 'undefined'
  if (schema.const !== undefined) return literal(schema.const)
  if (schema.enum !== undefined) return schema.enum.map(literal).join(' | ')
  if (schema.anyOf !== undefined) return schema.anyOf.map((one) => typeOf(one, path, of)).join(' | ')
  const { type } = schema
  if (Array.isArray(type)) return type.map((one) => typeOf({ ...schema, type: one }, path, of)).join(' | ')
  switch (type) {
    case 'integer':
    case 'number':
      return 'number'
    case 'string':
    case 'boolean':
    case 'null':
      return type
    case 'array': {
      const element = typeOf(schema.items ?? {}, `${path}[]`, of)
      return /\W/.test(element) ? `(${element})[]` : `${element}[]`
    }
    case 'object':
      if (schema.properties === undefined) return 'Record<string, unknown>'
      return `{\n${fieldsOf(schema, `${path}.`, of)}}`
    case undefined:
    default:
      throw new Error(`${path}: no type for ${JSON.stringify(schema)}`)
  }
}

function literal(value: unknown): string {
  return typeof value === 'string' ? `'${value}'` : JSON.stringify(value)
}

/** The paragraphs of a field's comment. */
function docOf(path: string, schema: Schema, { isInput = false }: Interface): string[] {
  const { description, default: usual } = schema
  if (description === undefined) throw new Error(`${path}: expected a description, which becomes its comment`)
  const bounds = isInput ? boundsOf(schema) : []
  return [
    sentence(description),
    ...(bounds.length === 0 ? [] : [bounds.join(' ')]),
    ...(usual === undefined ? [] : [`@defaultValue \`${JSON.stringify(usual)}\``]),
  ]
}

function sentence(text: string): string {
  return `${text[0]?.toUpperCase()}${text.slice(1)}${/[.…]$/.test(text) ? '' : '.'}`
}

/** The bounds of a field in words. */
function boundsOf(schema: Schema): string[] {
  const [one = schema, ...others] = (schema.anyOf ?? [schema]).filter(({ type }) => type !== 'null')
  if (others.length > 0) return []
  if (one.const !== undefined || one.enum !== undefined) return []
  if (one.type === 'integer') {
    const low = one.minimum ?? (one.exclusiveMinimum === undefined ? undefined : one.exclusiveMinimum + 1)
    return low === undefined || low <= Number.MIN_SAFE_INTEGER
      ? []
      : [`Whole number, ${range(low, one.maximum === undefined ? undefined : Math.floor(one.maximum))}.`]
  }
  if (one.type === 'number') {
    const { exclusiveMinimum: below, minimum: low, maximum: high } = one
    if (below === undefined) return low === undefined ? [] : [`Number, ${range(low, high)}.`]
    return [`Number above ${number(below)}${high === undefined ? '' : `, at most ${number(high)}`}.`]
  }
  if (one.type === 'array' && one.maxItems !== undefined) {
    return [
      `${one.minItems === undefined ? 'At most' : `${one.minItems} to`} ${number(one.maxItems)} elements.`,
    ]
  }
  return one.minLength === 1 ? ['Not empty.'] : []
}

function range(low: number, high: number = Number.MAX_SAFE_INTEGER): string {
  return high === Number.MAX_SAFE_INTEGER ? `${number(low)} or more` : `${number(low)} to ${number(high)}`
}

function number(value: number): string {
  return value.toLocaleString('en-US')
}

/** The maximum width of a comment line, allowing for two levels of indentation. */
const WIDTH = 106

function comment(paragraphs: readonly string[]): string {
  const [only = ''] = paragraphs
  if (paragraphs.length === 1 && only.length < WIDTH - 6) return `/** ${only} */\n`
  const lines = paragraphs.flatMap((text, index) => [...(index === 0 ? [] : ['']), ...wrap(text)])
  return `/**\n${lines.map((line) => ` * ${line}`.trimEnd()).join('\n')}\n */\n`
}

function wrap(text: string): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line !== '' && line.length + 1 + word.length > WIDTH) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  return [...lines, line]
}

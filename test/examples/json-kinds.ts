import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Ajv2020 } from 'ajv/dist/2020.js'
import { ROOT } from './stage.ts'

type Json = Readonly<Record<string, unknown>>

/** The kinds of JSON that documents show: what marks one, its schema, and the part that it describes. */
const KINDS: readonly {
  readonly marks: (value: Json) => boolean
  readonly schema: (value: Json) => string
  readonly part: (value: Json) => unknown
}[] = [
  {
    marks: (value) => 'inputs' in value || 'messages' in value,
    schema: () => 'job',
    // A job as the command's file and the gateway take it says where it goes and what it is called.
    part: (value) => without(value, ['pool', 'job_id']),
  },
  {
    marks: (value) => 'event' in value && 'data' in value,
    schema: ({ event }) => `event-${String(event)}`,
    part: ({ data }) => data,
  },
  {
    marks: (value) => 'error' in value,
    schema: () => 'openapi#Error',
    // A file of answers says whose error it is.
    part: (value) => without(value, ['job_id', 'line']),
  },
  { marks: (value) => 'queue_position' in value, schema: () => 'openapi#Accepted', part: (value) => value },
  { marks: (value) => 'last_id' in value, schema: () => 'job-state', part: (value) => value },
  { marks: (value) => 'slots_configured' in value, schema: () => 'replica-entry', part: (value) => value },
]

/** Checks a JSON text, or each line of several, against what `schemas/` says of its kind. */
export async function checkJson(text: string): Promise<void> {
  for (const value of parse(text)) {
    const kind = KINDS.find(({ marks }) => marks(value))
    if (kind === undefined)
      throw new Error(`JSON of no kind that a schema is known for: ${JSON.stringify(value)}`)
    const name = kind.schema(value)
    const ajv = new Ajv2020({ strict: false })
    if (!ajv.validate(await readSchema(name), kind.part(value)))
      throw new Error(`against ${name} of schemas/: ${ajv.errorsText()}`)
  }
}

/** A schema by its file, or by its name in the OpenAPI document. */
async function readSchema(name: string): Promise<Json> {
  const [file = '', component] = name.split('#')
  const schema = JSON.parse(await readFile(join(ROOT, 'schemas', `${file}.json`), 'utf8')) as Json
  if (component === undefined) return schema
  const { schemas } = schema['components'] as { readonly schemas: Readonly<Record<string, Json>> }
  const found = schemas[component]
  if (found === undefined) throw new Error(`schemas/${file}.json has no ${component}`)
  return found
}

function parse(text: string): Json[] {
  try {
    return [JSON.parse(text) as Json]
  } catch {
    return text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Json)
  }
}

function without(value: Json, names: readonly string[]): Json {
  return Object.fromEntries(Object.entries(value).filter(([name]) => !names.includes(name)))
}

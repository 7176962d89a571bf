import { z } from 'zod'
import { refuseFirst } from './bounded.ts'
import { SCHEMA_BOUNDS, jsonGrammarFlaw } from './json-grammar.ts'
import { findJsonFlaw } from './json-text.ts'
import { regexFlaw } from './regex.ts'
import { describeExcess, findExcess } from './shape.ts'
import type { Bounds } from './shape.ts'
import { kindOf } from './shown.ts'

/** The longest regex (characters). */
const MAX_REGEX = 32_768
/** The longest JSON Schema (bytes of its JSON). */
const MAX_SCHEMA_BYTES = 262_144

const SCHEMA_RULE = `A JSON Schema, or the JSON of one: at most ${MAX_SCHEMA_BYTES} bytes, ${SCHEMA_BOUNDS.values} values and ${SCHEMA_BOUNDS.depth} levels`

/** A grammar under TGI's names (router/src/lib.rs, TGI 3.3.7). */
const shape = z.union(
  [
    z.strictObject({
      type: z.enum(['json', 'json_object']).describe('A JSON Schema'),
      value: z.union([z.string(), z.record(z.string(), z.unknown())]).describe(SCHEMA_RULE),
    }),
    z.strictObject({
      type: z.literal('regex').describe('A regex that the whole answer must match'),
      value: z.string().max(MAX_REGEX).describe(`The regex: at most ${MAX_REGEX} characters`),
    }),
    z.strictObject({
      type: z.literal('json_schema').describe('A JSON Schema with a name'),
      value: z
        .strictObject({
          schema: z.record(z.string(), z.unknown()).describe(SCHEMA_RULE),
          name: z.string().optional().describe('Name of the schema, for your own use'),
        })
        .describe('The schema and its name'),
    }),
  ],
  { error: 'expected {type: "json"|"json_object"|"regex"|"json_schema", value}' },
)

type Grammar = z.infer<typeof shape>

/**
 * A grammar that the replica should accept, as far as that can be checked without it. A broken regex fails its whole batch in the
 * shard, so it must not get there. Messages quote only names from the grammar.
 */
export const grammarSchema = refuseFirst(
  shape.superRefine((grammar, context) => {
    const message = flawOf(grammar)
    if (message !== undefined) context.addIssue({ code: 'custom', message })
  }),
  excessOf,
)

/** How much of a schema's text an error message repeats. */
const MAX_SHOWN = 200

/** A regex has only a length; a schema has the bounds of its JSON, whether given as an object or as text. */
function excessOf(grammar: unknown): string | undefined {
  const { type, value } = Object(grammar) as { readonly type?: unknown; readonly value?: unknown }
  if (type === 'regex') {
    const length = typeof value === 'string' ? value.length : 0
    return length > MAX_REGEX
      ? `regex: expected at most ${MAX_REGEX} characters, got ${length} characters`
      : undefined
  }
  const excess = typeof value === 'string' ? undefined : findExcess(grammar, WRAPPED_BOUNDS)
  if (excess !== undefined) return describeExcess(excess, SCHEMA_BOUNDS)
  const bytes = Buffer.byteLength(typeof value === 'string' ? value : (JSON.stringify(value) ?? ''))
  return bytes > MAX_SCHEMA_BYTES
    ? `expected at most ${MAX_SCHEMA_BYTES} bytes of JSON Schema, got ${bytes}`
    : undefined
}

/** The bounds of a schema with its wrapper: `{type, value: {schema, name}}`. */
const WRAPPED_BOUNDS: Bounds = {
  ...SCHEMA_BOUNDS,
  depth: SCHEMA_BOUNDS.depth + 2,
  values: SCHEMA_BOUNDS.values + 4,
}

function flawOf({ type, value }: Grammar): string | undefined {
  if (type === 'regex') {
    const flaw = regexFlaw(value)
    const got = `got ${value.length} characters`
    return flaw && `the regex is broken at character ${flaw.at + 1}: ${flaw.message}; ${got}`
  }
  const schema = type === 'json_schema' ? value.schema : parsed(value)
  if (schema instanceof BrokenText) return schema.message
  const flaw = jsonGrammarFlaw(schema)
  if (flaw === undefined) return undefined
  const kind = flaw.kind === 'uncompilable' ? 'cannot compile regex from schema' : 'grammar is not valid'
  const where = flaw.path.length === 0 ? '' : `${flaw.path.join('.').slice(0, 100)} `
  return `${kind}: ${short(where + flaw.message)}; got ${kindOf('value' in flaw ? flaw.value : schema)}`
}

/** Shortens text from a grammar: a `$ref` or a `format` can have any content and length. */
function short(text: string): string {
  const line = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ')
  return line.length > MAX_SHOWN ? `${line.slice(0, MAX_SHOWN)}…` : line
}

/** Stands for a schema whose text cannot be parsed. */
class BrokenText {
  readonly message: string
  constructor(message: string) {
    this.message = message
  }
}

function parsed(value: string | Readonly<Record<string, unknown>>): unknown {
  if (typeof value !== 'string') return value
  const flaw = findJsonFlaw(value, SCHEMA_BOUNDS)
  if (flaw === undefined) return JSON.parse(value)
  return new BrokenText(
    flaw.kind === 'not_json'
      ? 'grammar is not valid: expected an object or the JSON of one, got a broken text'
      : `grammar is not valid: ${describeExcess(flaw.kind, SCHEMA_BOUNDS)}`,
  )
}

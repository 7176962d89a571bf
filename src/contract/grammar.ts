import { z } from 'zod'
import { jsonGrammarFlaw } from './json-grammar.ts'
import { regexFlaw } from './regex.ts'

/** A grammar under TGI's names (router/src/lib.rs, TGI 3.3.7). */
const shape = z.union(
  [
    z.strictObject({
      type: z.enum(['json', 'json_object']),
      value: z.union([z.string(), z.record(z.string(), z.unknown())]),
    }),
    z.strictObject({ type: z.literal('regex'), value: z.string() }),
    z.strictObject({
      type: z.literal('json_schema'),
      value: z.strictObject({ schema: z.record(z.string(), z.unknown()), name: z.string().optional() }),
    }),
  ],
  { error: 'expected {type: "json"|"json_object"|"regex"|"json_schema", value}' },
)

type Grammar = z.infer<typeof shape>

/**
 * A grammar that the replica should neither refuse nor break on, as far as that can be checked without it. A broken regex fails
 * its whole batch in the shard, so it must not get there. Messages quote only names of the grammar.
 */
export const grammarSchema = shape.superRefine((grammar, context) => {
  const message = flawOf(grammar)
  if (message !== undefined) context.addIssue({ code: 'custom', message })
})

/** How much of what a schema says a refusal repeats. */
const MAX_SHOWN = 200

function flawOf({ type, value }: Grammar): string | undefined {
  if (type === 'regex') {
    const flaw = regexFlaw(value)
    const got = `got ${value.length} characters`
    return flaw && `the regex is broken at character ${flaw.at + 1}: ${flaw.message}; ${got}`
  }
  const schema = type === 'json_schema' ? value.schema : parsed(value)
  if (schema === BROKEN)
    return 'grammar is not valid: expected an object or the JSON of one, got a broken text'
  const flaw = jsonGrammarFlaw(schema)
  if (flaw === undefined) return undefined
  const kind = flaw.kind === 'uncompilable' ? 'cannot compile regex from schema' : 'grammar is not valid'
  const where = flaw.path.length === 0 ? '' : `${flaw.path.join('.').slice(0, 100)} `
  return `${kind}: ${short(where + flaw.message)}; got ${described('value' in flaw ? flaw.value : schema)}`
}

/** A `$ref` or a `format` may be anything of any length. */
function short(text: string): string {
  const line = text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]+/gu, ' ')
  return line.length > MAX_SHOWN ? `${line.slice(0, MAX_SHOWN)}…` : line
}

function described(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return `an array of ${value.length}`
  return `${/^[aeiou]/.test(typeof value) ? 'an' : 'a'} ${typeof value}`
}

const BROKEN = Symbol('broken')

function parsed(value: Grammar['value']): unknown {
  if (typeof value !== 'string') return value
  try {
    return JSON.parse(value)
  } catch {
    return BROKEN
  }
}

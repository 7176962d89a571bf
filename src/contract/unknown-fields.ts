import { z } from 'zod'
import { closest } from './closest.ts'
import { shown } from './shown.ts'

/** What to write instead of a field that other servers know, by its name. */
export type FieldHints = ReadonlyMap<string, string>

const NO_HINTS: FieldHints = new Map()
/** How many unknown fields a message names. */
const MAX_NAMED = 5

/** An object that refuses unknown fields and, if it can, suggests the right one. */
export function strictFields<S extends z.ZodRawShape>(
  shape: S,
  hints: FieldHints = NO_HINTS,
): z.ZodObject<S, z.core.$strict> {
  const fields = Object.keys(shape)
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys' ? describeUnknown(issue.keys, fields, hints) : undefined,
  })
}

/** `unknown field "maxTokens" (use max_tokens)`; names the first few fields. */
export function describeUnknown(
  keys: readonly string[],
  fields: readonly string[],
  hints: FieldHints = NO_HINTS,
): string {
  const named = keys.slice(0, MAX_NAMED).map((key) => {
    const hint = hintFor(key, fields, hints)
    return hint === undefined ? shown(key) : `${shown(key)} (${hint})`
  })
  return `unknown ${keys.length === 1 ? 'field' : 'fields'} ${named.join(', ')}`
}

function hintFor(key: string, fields: readonly string[], hints: FieldHints): string | undefined {
  // A field is short, so a longer key needs no conversion.
  const name = snakeCase(key.slice(0, 100))
  if (fields.includes(name)) return `use ${name}`
  const hint = hints.get(key) ?? hints.get(name)
  if (hint !== undefined) return hint
  const near = closest(name, [...fields, ...hints.keys()])
  if (near === undefined) return undefined
  return fields.includes(near) ? `did you mean ${near}?` : hints.get(near)
}

/** `maxNewTokens`, `max-new-tokens`, `MAX_NEW_TOKENS`: all `max_new_tokens`. */
function snakeCase(key: string): string {
  return key
    .replaceAll(/([a-z0-9])([A-Z])/g, '$1_$2')
    .replaceAll(/[- .]/g, '_')
    .toLowerCase()
}

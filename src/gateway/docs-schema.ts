import { escapeHtml } from '../http/page.ts'
import { renderInline, renderTable } from './docs-text.ts'
import type { Schema } from './openapi-document.ts'

/** A schema as a table of its fields, those of inner objects too, and as JSON to unfold. */
export function renderSchema(name: string, schema: Schema): string {
  const description = schema.description === undefined ? '' : `<p>${renderInline(schema.description)}</p>`
  return `<section id="${escapeHtml(name)}"><h3>${escapeHtml(name)}</h3>${description}
${renderTable(['field', 'type', ''], fieldsOf(schema, ''))}
<details><summary>JSON Schema</summary>${renderJson(schema)}</details></section>`
}

/** A value as JSON. */
export function renderJson(value: unknown): string {
  return `<pre>${escapeHtml(JSON.stringify(value, null, 2))}</pre>`
}

/** Rows for the fields of an object, of objects in arrays, and of the ones that it may be. */
function fieldsOf(schema: Schema, prefix: string): string[][] {
  const required = new Set(schema.required)
  const own = Object.entries(schema.properties ?? {})
    // A field that is refused whatever it holds.
    .filter(([, field]) => field.not === undefined)
    .flatMap(([name, field]) => {
      const path = `${prefix}${name}`
      const mark = required.has(name) ? '<b>required</b> ' : ''
      const row = [
        `<code>${escapeHtml(path)}</code>`,
        mark + describeType(field),
        renderInline(field.description ?? ''),
      ]
      return [row, ...innerFields(field, path)]
    })
  return [...own, ...(schema.anyOf ?? []).flatMap((other) => fieldsOf(other, prefix))]
}

function innerFields(field: Schema, path: string): string[][] {
  const array = [field, ...(field.anyOf ?? [])].flatMap(({ items }) => (items === undefined ? [] : [items]))
  return [...fieldsOf(field, `${path}.`), ...array.flatMap((items) => fieldsOf(items, `${path}[].`))]
}

/** What a value may be, in few words (HTML). */
export function describeType(schema: Schema): string {
  if (schema.$ref !== undefined) return renderRef(schema.$ref)
  if (schema.const !== undefined) return code(schema.const)
  if (schema.enum !== undefined) return schema.enum.map((value) => code(value)).join(' or ')
  if (schema.anyOf !== undefined) return [...new Set(schema.anyOf.map(describeType))].join(' or ')
  const words = [escapeHtml([schema.type ?? 'any value'].flat().join(' or ')), ...boundsOf(schema)]
  return words.join(', ')
}

function boundsOf(schema: Schema): string[] {
  const { minLength, maxLength, minItems, maxItems, exclusiveMinimum } = schema
  // Bounds that every JavaScript number has are noise.
  const maximum = schema.maximum === Number.MAX_SAFE_INTEGER ? undefined : schema.maximum
  const minimum = schema.minimum === Number.MIN_SAFE_INTEGER ? undefined : schema.minimum
  return [
    rangeOf(minimum, maximum, ''),
    exclusiveMinimum === undefined ? '' : `above ${exclusiveMinimum}`,
    rangeOf(minLength, maxLength, ' characters'),
    rangeOf(minItems, maxItems, ' items'),
    schema.pattern === undefined
      ? ''
      : `<details><summary>pattern</summary>${code(schema.pattern, String)}</details>`,
    schema.default === undefined ? '' : `default ${code(schema.default)}`,
  ].filter((words) => words !== '')
}

function rangeOf(from: number | undefined, to: number | undefined, unit: string): string {
  if (from !== undefined && to !== undefined) return `${from} to ${to}${unit}`
  if (from !== undefined) return `at least ${from}${unit}`
  return to === undefined ? '' : `at most ${to}${unit}`
}

function code(value: unknown, format: (value: unknown) => string = JSON.stringify): string {
  return `<code>${escapeHtml(format(value))}</code>`
}

/** A link to a schema of the document. */
export function renderRef(ref: string): string {
  const name = escapeHtml(ref.split('/').at(-1) ?? '')
  return `<a href="#${name}">${name}</a>`
}

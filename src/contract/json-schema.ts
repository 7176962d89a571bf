/**
 * Validates a JSON Schema against the meta-schema of draft 2020-12, with the messages of TGI 3.3.7's validator (jsonschema 0.28).
 * Like that validator, it does not check formats of strings.
 */

/** A JSON object. */
export type JsonObject = Readonly<Record<string, unknown>>

/** Whether a parsed value is a JSON object. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** What is wrong, where, and with which value; `rule` continues a sentence that begins with the value. */
export interface SchemaFlaw {
  readonly path: readonly string[]
  readonly value: unknown
  readonly rule: string
}

type Check = (value: unknown) => SchemaFlaw | undefined

const TYPES = ['array', 'boolean', 'integer', 'null', 'number', 'object', 'string']

const NO_MATCH = "is not valid under any of the schemas listed in the 'anyOf' keyword"

/** The first flaw among an object's values or a list's elements. */
function firstOf(
  entries: Iterable<readonly [number | string, unknown]>,
  check: (value: unknown, key: number | string) => SchemaFlaw | undefined,
): SchemaFlaw | undefined {
  for (const [key, value] of entries) {
    const flaw = check(value, key)
    if (flaw !== undefined) return { ...flaw, path: [String(key), ...flaw.path] }
  }
  return undefined
}

const wrong = (value: unknown, rule: string): SchemaFlaw => ({ path: [], value, rule })

const is =
  (type: string, test: (value: unknown) => boolean): Check =>
  (value) =>
    test(value) ? undefined : wrong(value, `is not of type "${type}"`)

const text = is('string', (value) => typeof value === 'string')
const flag = is('boolean', (value) => typeof value === 'boolean')
const list = is('array', Array.isArray)
const object = is('object', isJsonObject)
const number = is('number', (value) => typeof value === 'number')
const integer = is('integer', Number.isInteger)

const positive: Check = (value) =>
  number(value) ?? (Number(value) > 0 ? undefined : wrong(value, 'is less than or equal to the minimum of 0'))

const count: Check = (value) =>
  typeof value === 'number' && value < 0 ? wrong(value, 'is less than the minimum of 0') : integer(value)

const matching =
  (pattern: RegExp): Check =>
  (value) =>
    text(value) ??
    (pattern.test(String(value)) ? undefined : wrong(value, `does not match "${pattern.source}"`))

const texts: Check = (value) => {
  if (!Array.isArray(value)) return list(value)
  const isUnique = new Set(value).size === value.length
  return firstOf(value.entries(), text) ?? (isUnique ? undefined : wrong(value, 'has non-unique elements'))
}

const type: Check = (value) => {
  const names: unknown[] = Array.isArray(value) ? value : [value]
  const isKnown = names.length > 0 && new Set(names).size === names.length
  if (isKnown && names.every((name) => typeof name === 'string' && TYPES.includes(name))) return undefined
  return wrong(value, NO_MATCH)
}

const mapOf =
  (check: Check): Check =>
  (value) =>
    isJsonObject(value) ? firstOf(Object.entries(value), check) : object(value)

const schema: Check = (value) => schemaFlaw(value)

const schemas: Check = (value) => {
  if (!Array.isArray(value)) return list(value)
  return value.length === 0 ? wrong(value, 'has less than 1 item') : firstOf(value.entries(), schema)
}

const dependency: Check = (value) => {
  const isFine = (Array.isArray(value) ? texts(value) : schemaFlaw(value)) === undefined
  return isFine ? undefined : wrong(value, NO_MATCH)
}

/** Keywords and what they accept; other keywords accept anything. */
const KEYWORDS: ReadonlyMap<string, Check> = new Map(
  (
    [
      [text, '$schema $ref $dynamicRef $comment title description pattern format'],
      [text, 'contentEncoding contentMediaType'],
      [matching(/^[^#]*#?$/), '$id'],
      [matching(/^[A-Za-z_][-A-Za-z0-9._]*$/), '$anchor $dynamicAnchor'],
      [flag, 'deprecated readOnly writeOnly uniqueItems'],
      [list, 'enum examples'],
      [number, 'maximum exclusiveMaximum minimum exclusiveMinimum'],
      [positive, 'multipleOf'],
      [count, 'maxLength minLength maxItems minItems maxContains minContains maxProperties minProperties'],
      [texts, 'required'],
      [type, 'type'],
      [schemas, 'allOf anyOf oneOf prefixItems'],
      [schema, 'additionalProperties unevaluatedProperties unevaluatedItems items contains propertyNames'],
      [schema, 'not if then else contentSchema'],
      [mapOf(schema), 'properties patternProperties dependentSchemas $defs definitions'],
      [mapOf(texts), 'dependentRequired'],
      [mapOf(flag), '$vocabulary'],
      [mapOf(dependency), 'dependencies'],
    ] as const
  ).flatMap(([check, names]) => names.split(' ').map((name): [string, Check] => [name, check])),
)

/** The first flaw of a schema, undefined if it has none. Recursive: bound the depth of untrusted input first. */
export function schemaFlaw(value: unknown): SchemaFlaw | undefined {
  if (typeof value === 'boolean') return undefined
  if (!isJsonObject(value)) return wrong(value, 'is not of types "boolean", "object"')
  return firstOf(Object.entries(value), (inner, key) => KEYWORDS.get(String(key))?.(inner))
}

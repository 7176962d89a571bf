/**
 * Whether TGI's router accepts a JSON Schema as a grammar: it must be valid (draft 2020-12), have `properties`, and use only what
 * outlines-core 0.1.0 compiles to a regex (router/src/validation.rs, TGI 3.3.7). Its compiler follows `$ref` without a bound, so a
 * schema that refers to itself takes the whole router down, and one that doubles at every step takes its memory.
 */
import { isJsonObject, schemaFlaw } from './json-schema.ts'
import type { JsonObject } from './json-schema.ts'
import { regexFlaw } from './regex.ts'
import { MAX_DEPTH, MAX_KEYS, describeExcess, findExcess } from './shape.ts'
import type { Bounds } from './shape.ts'

/** Why a grammar is refused. `invalid` and `uncompilable` are the router's own words; `harmful` would crash it. */
export interface GrammarFlaw {
  readonly kind: 'invalid' | 'uncompilable' | 'harmful'
  /** The place as keys from the root of the schema, if known. */
  readonly path: readonly string[]
  /** What is wrong; quotes only the schema's `format`, `type` and `$ref`. */
  readonly message: string
  /** The value that {@link message} is about and does not quote. */
  readonly value?: unknown
}

/** Most values and levels of a JSON Schema: the router walks it again and again, and its regex is far longer than the schema. */
export const SCHEMA_BOUNDS: Bounds = { depth: MAX_DEPTH, values: 20_000, keys: MAX_KEYS }
/** Most schemas visited while following references: far more than any usable grammar has. */
const MAX_STEPS = 20_000
const FORMATS: ReadonlySet<unknown> = new Set(['uuid', 'date-time', 'date', 'time'])
/** How many references may lead to one another: the router follows each on its stack, as we do. */
const MAX_OPEN = 200
/** How deep free-form objects may be nested; each level doubles the regex. */
const MAX_ANY_DEPTH = 12

class Uncompilable extends Error {
  readonly kind: 'uncompilable' | 'harmful'
  constructor(message: string, kind: 'uncompilable' | 'harmful' = 'uncompilable') {
    super(message)
    this.kind = kind
  }
}

/** What is wrong with a schema as a grammar; undefined if the router accepts it. */
export function jsonGrammarFlaw(schema: unknown): GrammarFlaw | undefined {
  const excess = findExcess(schema, SCHEMA_BOUNDS)
  if (excess !== undefined) {
    return { kind: 'harmful', path: [], message: describeExcess(excess, SCHEMA_BOUNDS) }
  }
  const flaw = schemaFlaw(schema)
  if (flaw !== undefined) return { kind: 'invalid', path: flaw.path, message: flaw.rule, value: flaw.value }
  if (!isJsonObject(schema) || !Object.hasOwn(schema, 'properties')) {
    return { kind: 'invalid', path: [], message: "Grammar must have a 'properties' field" }
  }
  try {
    new Compiler(schema).compile(schema)
    return undefined
  } catch (error) {
    if (!(error instanceof Uncompilable)) throw error
    return { kind: error.kind, path: [], message: error.message }
  }
}

/** Follows outlines-core's compiler without building the regex. */
class Compiler {
  readonly #root: JsonObject
  /** References that are being followed. */
  readonly #open = new Set<string>()
  /** How many steps each schema took: one that many references lead to is looked at once. */
  readonly #seen = new Map<JsonObject, number>()
  #steps = 0

  constructor(root: JsonObject) {
    this.#root = root
  }

  compile(schema: unknown): void {
    if (!isJsonObject(schema)) throw new Uncompilable('Invalid JSON Schema: expected an object')
    const before = this.#steps
    const known = this.#seen.get(schema)
    this.#steps += known ?? 1
    if (this.#steps > MAX_STEPS) {
      throw new Uncompilable(`its references unfold to more than ${MAX_STEPS} schemas`, 'harmful')
    }
    if (known !== undefined) return
    this.#look(schema)
    this.#seen.set(schema, this.#steps - before)
  }

  #look(schema: JsonObject): void {
    const keys = Object.keys(schema)
    if (keys.length === 0) return
    // The first of these keywords decides; outlines-core ignores the others.
    const order = ['properties', 'allOf', 'anyOf', 'oneOf', 'prefixItems', 'enum', 'const', '$ref', 'type']
    const keyword = order.find((name) => keys.includes(name))
    if (keyword === undefined) throw new Uncompilable('Unsupported JSON Schema structure')
    const value = schema[keyword]
    if (keyword === '$ref') this.#follow(String(value))
    else if (keyword === 'type') this.#type(value, schema)
    else if (keyword === 'enum' || keyword === 'const') this.#constants(keyword, value)
    else for (const inner of Object.values(value as object)) this.compile(inner)
  }

  #constants(keyword: 'enum' | 'const', value: unknown): void {
    const values: unknown[] = keyword === 'enum' && Array.isArray(value) ? value : [value]
    if (values.some((constant) => typeof constant === 'object' && constant !== null)) {
      throw new Uncompilable(`Unsupported data type in ${keyword}`)
    }
  }

  #follow(reference: string): void {
    const parts = reference.split('#')
    const [base = '', fragment = base] = parts
    if (parts.length > 2) throw new Uncompilable(`Invalid reference format: ${reference}`)
    const isOwn = parts.length === 1 || base === '' || base === this.#root['$id']
    if (!isOwn) throw new Uncompilable(`External references are not supported: ${reference}`)
    let target: unknown = this.#root
    for (const part of fragment.split('/').filter((name) => name !== '')) {
      if (!isJsonObject(target) || !Object.hasOwn(target, part)) {
        throw new Uncompilable(`Invalid reference path: ${part}`)
      }
      target = target[part]
    }
    if (this.#open.has(fragment)) {
      throw new Uncompilable(`$ref ${JSON.stringify(reference)} leads back to itself`, 'harmful')
    }
    if (this.#open.size >= MAX_OPEN) {
      throw new Uncompilable(`more than ${MAX_OPEN} references lead to one another`, 'harmful')
    }
    this.#open.add(fragment)
    this.compile(target)
    this.#open.delete(fragment)
  }

  #type(type: unknown, schema: JsonObject): void {
    if (typeof type !== 'string') throw new Uncompilable("'type' must be a string")
    if (type === 'string') checkString(schema)
    if (type !== 'array' && type !== 'object') return
    const inner = type === 'array' ? schema['items'] : schema['additionalProperties']
    const most = schema[type === 'array' ? 'maxItems' : 'maxProperties']
    if (most === 0) return
    if (inner !== undefined && !(type === 'object' && inner === true)) this.compile(inner)
    else if (Number(schema['depth'] ?? 0) > MAX_ANY_DEPTH) {
      throw new Uncompilable(`depth is more than ${MAX_ANY_DEPTH}`, 'harmful')
    }
  }
}

function checkString(schema: JsonObject): void {
  const { minLength, maxLength, pattern, format } = schema
  if (minLength !== undefined || maxLength !== undefined) {
    if (minLength !== undefined && maxLength !== undefined && Number(minLength) > Number(maxLength)) {
      throw new Uncompilable('maxLength must be greater than or equal to minLength')
    }
  } else if (typeof pattern === 'string') {
    const inner = pattern.startsWith('^') && pattern.endsWith('$') ? pattern.slice(1, -1) : pattern
    const flaw = regexFlaw(inner)
    // The router does not check it, and the shard fails its whole batch.
    if (flaw !== undefined) throw new Uncompilable(`pattern: ${flaw.message}`, 'harmful')
  } else if (typeof format === 'string' && !FORMATS.has(format)) {
    throw new Uncompilable(`Format ${format} is not supported by Outlines`)
  }
}

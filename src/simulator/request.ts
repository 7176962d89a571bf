/**
 * The body of `/generate*`, read as serde reads it: the same refusals in the same words (router/src/lib.rs and axum 0.7.9,
 * TGI 3.3.7). A line and column stand in the message as well; for a value of the wrong type they are those of the value's first
 * occurrence, which may differ from serde's own.
 */

/** A grammar as given; it is checked and does not constrain the simulator's text. */
export interface Grammar {
  readonly type: 'json' | 'regex' | 'json_schema'
  readonly value: unknown
}

/** `parameters` by TGI's own names; a missing or null field is undefined. */
export interface GenerateParameters {
  readonly best_of: number | undefined
  readonly temperature: number | undefined
  readonly repetition_penalty: number | undefined
  readonly frequency_penalty: number | undefined
  readonly top_k: number | undefined
  readonly top_p: number | undefined
  readonly typical_p: number | undefined
  readonly do_sample: boolean
  readonly max_new_tokens: number | undefined
  readonly return_full_text: boolean | undefined
  readonly stop: readonly string[]
  readonly truncate: number | undefined
  readonly watermark: boolean
  readonly details: boolean
  readonly decoder_input_details: boolean
  readonly seed: bigint | undefined
  readonly top_n_tokens: number | undefined
  readonly grammar: Grammar | undefined
}

/** A parsed request. */
export interface GenerateRequest {
  readonly inputs: string
  readonly parameters: GenerateParameters
  readonly stream: boolean
}

/** Why a body was refused before any handler saw it: an HTTP status and a plain text. */
export interface Refusal {
  readonly status: 400 | 413 | 415 | 422
  readonly text: string
}

type JsonObject = Readonly<Record<string, unknown>>

const U32 = 4_294_967_295
const I32 = 2_147_483_647

class Mismatch extends Error {}

function placeOf(text: string, offset: number): string {
  const before = text.slice(0, offset)
  const lines = before.split('\n')
  return `line ${lines.length} column ${lines.at(-1)?.length ?? 0}`
}

/** An integer as serde_json sees one: beyond 64 bits it reads a float. */
const isWhole = (value: number): boolean => Number.isInteger(value) && Math.abs(value) < 2 ** 64

function describe(value: unknown): string {
  if (value === null) return 'null'
  if (typeof value === 'string') return `string ${JSON.stringify(value)}`
  if (typeof value === 'boolean') return `boolean \`${value}\``
  if (typeof value === 'number')
    return isWhole(value) ? `integer \`${value}\`` : `floating point \`${value}\``
  return Array.isArray(value) ? 'sequence' : 'map'
}

/** Whether a parsed value is a JSON object. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** A parsed JSON document with what is needed to speak of places in it. */
export interface JsonBody {
  readonly text: string
  readonly value: unknown
}

const refuse = (detail: string): Refusal => ({
  status: 400,
  text: `Failed to parse the request body as JSON: ${detail}`,
})

/** Parses JSON syntax; the refusal never quotes the body. */
export function parseJson(text: string): JsonBody | Refusal {
  try {
    const value: unknown = JSON.parse(text)
    return { text, value }
  } catch (error) {
    const message = error instanceof Error ? error.message : ''
    if (text.trim() === '') return refuse(`EOF while parsing a value at ${placeOf(text, text.length)}`)
    // V8 does not always say where.
    const position = Number(/position (\d+)/.exec(message)?.[1] ?? 0)
    if (/^Unexpected end|^Unterminated/.test(message) || position >= text.length) {
      return refuse(`EOF while parsing an object at ${placeOf(text, text.length)}`)
    }
    const detail = message.includes('after JSON') ? 'trailing characters' : 'expected value'
    return refuse(`${detail} at ${placeOf(text, position + 1)}`)
  }
}

/** Whether parsing ended in a refusal. */
export function isRefusal(value: object): value is Refusal {
  return 'status' in value
}

/** The refusal for a value of the wrong type: `path` is dotted and empty at the root, `at` names the key. */
export function mistyped(body: JsonBody, path: string, detail: string): Refusal {
  const key =
    path
      .split('.')
      .at(-1)
      ?.replace(/\[\d+\]$/, '') ?? ''
  const found = key === '' ? -1 : body.text.indexOf(JSON.stringify(key))
  const offset = found < 0 ? body.text.length : found + key.length + 3
  const prefix = path === '' ? '' : `${path}: `
  const place = placeOf(body.text, offset)
  return {
    status: 422,
    text: `Failed to deserialize the JSON body into the target type: ${prefix}${detail} at ${place}`,
  }
}

function fail(value: unknown, expected: string): never {
  const kind = typeof value === 'number' && isWhole(value) && /^[ui]/.test(expected) ? 'value' : 'type'
  throw new Mismatch(`invalid ${kind}: ${describe(value)}, expected ${expected}`)
}

function integer(value: unknown, expected: 'u32' | 'i32' | 'usize', min: number, max: number): number {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < min || value > max)
    fail(value, expected)
  return value
}

function float(value: unknown): number {
  if (typeof value !== 'number') fail(value, 'f32')
  return Math.fround(value)
}

function flag(value: unknown): boolean {
  if (typeof value !== 'boolean') fail(value, 'a boolean')
  return value
}

function string(value: unknown): string {
  if (typeof value !== 'string') fail(value, 'a string')
  return value
}

function strings(value: unknown): readonly string[] {
  if (!Array.isArray(value)) fail(value, 'a sequence')
  return value.map((item: unknown) => string(item))
}

function seed(body: JsonBody, value: unknown): bigint {
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value > 2 ** 64)
    fail(value, 'u64')
  if (Number.isSafeInteger(value)) return BigInt(value)
  // JSON.parse has rounded it, and the digits that were sent are what comes back in `details`.
  const literal = /"seed"\s*:\s*(\d+)/.exec(body.text)?.[1]
  const exact = literal === undefined ? BigInt(value) : BigInt(literal)
  if (exact > 0xffff_ffff_ffff_ffffn) fail(value, 'u64')
  return exact
}

function grammar(value: unknown): Grammar {
  if (!isObject(value)) fail(value, 'adjacently tagged enum GrammarType')
  const type = value['type'] === 'json_object' ? 'json' : value['type']
  if (type === undefined) throw new Mismatch('missing field `type`')
  if (type !== 'json' && type !== 'regex' && type !== 'json_schema') {
    throw new Mismatch(
      `unknown variant \`${typeof type === 'string' ? type : describe(type)}\`, expected one of \`json\`, \`regex\`, \`json_schema\``,
    )
  }
  if (value['value'] === undefined) throw new Mismatch('missing field `value`')
  return { type, value: type === 'regex' ? string(value['value']) : value['value'] }
}

const unsigned = (value: unknown): number => integer(value, 'u32', 0, U32)
const size = (value: unknown): number => integer(value, 'usize', 0, Number.MAX_VALUE)

/** What absent `parameters` mean: sampling, unlike `{}` (router/src/lib.rs, `default_parameters`). */
const ABSENT_PARAMETERS: JsonObject = { do_sample: true }

function parseParameters(body: JsonBody, given: JsonObject): GenerateParameters {
  let path = ''
  const field = <T>(name: string, parse: (value: unknown) => T): T | undefined => {
    path = name
    const value = given[name]
    return value === undefined || value === null ? undefined : parse(value)
  }
  /** A field that has a default instead of an Option: null is refused. */
  const strict = <T>(name: string, parse: (value: unknown) => T, fallback: T): T => {
    path = name
    const value = given[name]
    return value === undefined ? fallback : parse(value)
  }
  try {
    return {
      best_of: field('best_of', size),
      temperature: field('temperature', float),
      repetition_penalty: field('repetition_penalty', float),
      frequency_penalty: field('frequency_penalty', float),
      top_k: field('top_k', (value) => integer(value, 'i32', -I32 - 1, I32)),
      top_p: field('top_p', float),
      typical_p: field('typical_p', float),
      do_sample: strict('do_sample', flag, false),
      max_new_tokens: field('max_new_tokens', unsigned),
      return_full_text: field('return_full_text', flag),
      stop: strict('stop', strings, []),
      truncate: field('truncate', size),
      watermark: strict('watermark', flag, false),
      details: strict('details', flag, false),
      decoder_input_details: strict('decoder_input_details', flag, false),
      seed: field('seed', (value) => seed(body, value)),
      top_n_tokens: field('top_n_tokens', unsigned),
      grammar: field('grammar', grammar),
    }
  } catch (error) {
    if (error instanceof Mismatch) error.cause = `parameters.${path}`
    throw error
  }
}

/** Parses a generation request; unknown keys are ignored at every level, `adapter_id` with them, as TGI runs the base model. */
export function parseGenerateRequest(body: JsonBody): GenerateRequest | Refusal {
  const given = body.value
  if (!isObject(given))
    return mistyped(body, '', `invalid type: ${describe(given)}, expected struct GenerateRequest`)
  let path = 'inputs'
  try {
    if (given['inputs'] === undefined) return mistyped(body, '', 'missing field `inputs`')
    const inputs = string(given['inputs'])
    if (!inputs.isWellFormed()) return refuse('lone leading surrogate in hex escape')
    path = 'stream'
    const stream = given['stream'] === undefined ? false : flag(given['stream'])
    path = 'parameters'
    const parameters = given['parameters'] === undefined ? ABSENT_PARAMETERS : given['parameters']
    if (!isObject(parameters)) fail(parameters, 'struct GenerateParameters')
    return { inputs, parameters: parseParameters(body, parameters), stream }
  } catch (error) {
    if (!(error instanceof Mismatch)) throw error
    return mistyped(body, typeof error.cause === 'string' ? error.cause : path, error.message)
  }
}

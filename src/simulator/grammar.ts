import { JsonReader } from './json-reader.ts'
import { JsonFlaw } from './json-scanner.ts'
import type { Read } from './serde.ts'
import { any, optional, refuse, string, struct } from './serde.ts'

/** A grammar as given; it is checked but does not constrain the simulator's text. */
export type Grammar =
  | { readonly type: 'json'; readonly value: unknown }
  | { readonly type: 'regex'; readonly value: string }
  | { readonly type: 'json_schema'; readonly value: { readonly schema: unknown } }

const VARIANTS = { json: 'json', json_object: 'json', regex: 'regex', json_schema: 'json_schema' } as const
const KNOWN = Object.keys(VARIANTS)
  .map((name) => `\`${name}\``)
  .join(', ')
const EXPECTED = 'adjacently tagged enum GrammarType'

type Tag = Grammar['type']

const readTag: Read<Tag> = (reader) => {
  // serde_json requires a string for the variant's name; anything else is not even a type error.
  const byte = reader.peek()
  if (byte !== 0x22) throw reader.syntax(byte === -1 ? 'EOF while parsing a value' : 'expected value')
  const name = reader.string()
  const tag = (VARIANTS as Readonly<Record<string, Tag | undefined>>)[name]
  if (tag !== undefined && Object.hasOwn(VARIANTS, name)) return tag
  throw reader.mismatch(`unknown variant \`${name}\`, expected one of ${KNOWN}`)
}

const jsonSchema = struct<{ name: string | undefined; schema: unknown }>('JsonSchemaConfig', {
  name: optional(string),
  schema: { read: any },
})

function readValue(reader: JsonReader, tag: Tag): Grammar {
  if (tag === 'regex') return { type: tag, value: string(reader) }
  if (tag === 'json_schema') return { type: tag, value: jsonSchema(reader) }
  return { type: tag, value: reader.any() }
}

/** serde buffers a value that precedes its tag, so its position is lost. */
function readBuffered(reader: JsonReader, tag: Tag, value: unknown): Grammar {
  try {
    return readValue(new JsonReader(Buffer.from(JSON.stringify(value))), tag)
  } catch (error) {
    throw error instanceof JsonFlaw ? reader.unplaced(error.message) : error
  }
}

/** `GrammarType` (router/src/lib.rs, TGI 3.3.7): `{"type","value"}` in any order, or `[type, value]`. */
export const grammar: Read<Grammar> = (reader) => {
  const byte = reader.peek()
  if (byte === 0x5b) {
    return reader.array((next) => {
      if (!next()) throw reader.unplaced(`invalid length 0, expected ${EXPECTED}`)
      const tag = readTag(reader)
      if (!next()) throw reader.unplaced(`invalid length 1, expected ${EXPECTED}`)
      return readValue(reader, tag)
    })
  }
  if (byte !== 0x7b) return refuse(reader, EXPECTED)
  const given: { tag?: Tag; buffered?: { value: unknown }; grammar?: Grammar } = {}
  const take = (key: string): void => {
    if (key !== 'type' && key !== 'value') return reader.field(key, () => reader.skip())
    const { tag } = given
    if (key === 'type' ? tag !== undefined : (given.grammar ?? given.buffered) !== undefined) {
      throw reader.unplaced(`duplicate field \`${key}\``)
    }
    if (key === 'value') {
      if (tag !== undefined) given.grammar = reader.field(key, () => readValue(reader, tag))
      else given.buffered = { value: reader.field(key, () => reader.any()) }
      return
    }
    const named = (given.tag = reader.field(key, () => readTag(reader)))
    if (given.buffered !== undefined) given.grammar = readBuffered(reader, named, given.buffered.value)
  }
  return reader.object(take, () => {
    if (given.grammar !== undefined) return given.grammar
    throw reader.unplaced(`missing field \`${given.tag === undefined ? 'type' : 'value'}\``)
  })
}

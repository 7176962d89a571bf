import type { JsonReader } from './json-reader.ts'
import type { JsonNumber } from './json-scanner.ts'

/** Reads one value of a type, or throws a `JsonFlaw` in serde's words (serde 1.0.219, serde_json 1.0.140). */
export type Read<T> = (reader: JsonReader) => T

const U32_MAX = 4_294_967_295n
const I32_MAX = 2_147_483_647n
const U64_MAX = 0xffff_ffff_ffff_ffffn

/** A float as in serde_json's refusals: always with a point or an exponent. */
function formatFloat(value: number): string {
  if (Object.is(value, -0)) return '-0.0'
  const [, sign = '', whole = '', fraction = '', exponent = '0'] =
    /^(-?)(\d)\.?(\d*)e([+-]\d+)$/.exec(value.toExponential()) ?? []
  const digits = (whole + fraction).replace(/0+$/, '') || '0'
  const point = Number(exponent) + 1
  if (point > 0 && point <= 16) {
    const padded = digits.padEnd(point, '0')
    return `${sign}${padded.slice(0, point)}.${padded.slice(point) || '0'}`
  }
  if (point > -5 && point <= 0) return `${sign}0.${'0'.repeat(-point)}${digits}`
  return `${sign}${digits[0]}${digits.length > 1 ? `.${digits.slice(1)}` : ''}e${exponent.replace('+', '')}`
}

/** Refuses the next value, since `expected` is required. */
export function refuse(reader: JsonReader, expected: string): never {
  throw reader.mismatch(`invalid type: ${describeNext(reader)}, expected ${expected}`)
}

function describeNext(reader: JsonReader): string {
  const byte = reader.peek()
  if (byte === 0x7b) return 'map'
  if (byte === 0x5b) return 'sequence'
  if (isNumber(byte)) return describeNumber(reader.number())
  const value = reader.any()
  if (typeof value === 'boolean') return `boolean \`${value}\``
  return value === null ? 'null' : `string ${JSON.stringify(value)}`
}

function describeNumber({ kind, value }: JsonNumber): string {
  return kind === 'integer' ? `integer \`${value}\`` : `floating point \`${formatFloat(value)}\``
}

const isNumber = (byte: number): boolean => byte === 0x2d || (byte >= 0x30 && byte <= 0x39)

/** An integer from `min` to `max`; `expected` is Rust's name of its type. */
function integer(expected: string, min: bigint, max: bigint): Read<bigint> {
  return (reader) => {
    if (!isNumber(reader.peek())) return refuse(reader, expected)
    const number = reader.number()
    const isInteger = number.kind === 'integer'
    if (isInteger && number.value >= min && number.value <= max) return number.value
    const kind = isInteger ? 'value' : 'type'
    throw reader.mismatch(`invalid ${kind}: ${describeNumber(number)}, expected ${expected}`)
  }
}

const narrowed =
  (read: Read<bigint>): Read<number> =>
  (reader) =>
    Number(read(reader))

/** Rust's integers; a float is refused, whatever its value. */
export const u32: Read<number> = narrowed(integer('u32', 0n, U32_MAX))
/** See {@link u32}. */
export const i32: Read<number> = narrowed(integer('i32', -I32_MAX - 1n, I32_MAX))
/** See {@link u32}; beyond 2^53 it loses digits. */
export const usize: Read<number> = narrowed(integer('usize', 0n, U64_MAX))
/** See {@link u32}; it keeps all digits. */
export const u64: Read<bigint> = integer('u64', 0n, U64_MAX)

/** A number, rounded to 32 bits. */
export const f32: Read<number> = (reader) =>
  isNumber(reader.peek()) ? Math.fround(Number(reader.number().value)) : refuse(reader, 'f32')

/** `true` or `false`. */
export const bool: Read<boolean> = (reader) => {
  const byte = reader.peek()
  if (byte !== 0x74 && byte !== 0x66) return refuse(reader, 'a boolean')
  reader.word(byte === 0x74 ? 'true' : 'false')
  return byte === 0x74
}

/** A string, whole characters only. */
export const string: Read<string> = (reader) =>
  reader.peek() === 0x22 ? reader.string() : refuse(reader, 'a string')

/** Any JSON value. */
export const any: Read<unknown> = (reader) => reader.any()

/** `Option<T>`: null becomes undefined. */
export function option<T>(read: Read<T>): Read<T | undefined> {
  return (reader) => {
    if (reader.peek() !== 0x6e) return read(reader)
    reader.word('null')
    return undefined
  }
}

/** A `Vec`: an array of one type. */
export function sequence<T>(read: Read<T>): Read<readonly T[]> {
  return (reader) => {
    if (reader.peek() !== 0x5b) return refuse(reader, 'a sequence')
    return reader.array((next) => {
      const items: T[] = []
      while (next()) items.push(read(reader))
      return items
    })
  }
}

/** A field of a struct. Without `fallback` it must be there. */
export interface Field<T> {
  readonly read: Read<T>
  readonly fallback?: (() => T) | undefined
  /** Another name of the field. */
  readonly alias?: string | undefined
}

/** A field that may be missing or null. */
export const optional = <T>(read: Read<T>): Field<T | undefined> => ({
  read: option(read),
  fallback: () => undefined,
})

/** A field that has a default and may not be null. */
export const defaulted = <T>(read: Read<T>, value: T): Field<T> => ({ read, fallback: () => value })

type Fields<T> = { readonly [Name in keyof T]: Field<T[Name]> }

/**
 * A struct, from an object (unknown keys are skipped, its own may not repeat) or from an array in the order of `fields`.
 */
export function struct<T extends object>(name: string, fields: Fields<T>): Read<T> {
  const known = Object.entries<Field<unknown>>(fields)
  const names = new Map(
    known.flatMap(([key, { alias }]) => [[key, key], ...(alias === undefined ? [] : [[alias, key]])]) as [
      string,
      string,
    ][],
  )
  return (reader) => {
    const byte = reader.peek()
    const values = new Map<string, unknown>()
    if (byte === 0x5b) {
      return reader.array((next) => {
        for (const [index, [key, { read, fallback }]] of known.entries()) {
          if (next()) values.set(key, read(reader))
          else if (fallback !== undefined) values.set(key, fallback())
          else {
            throw reader.unplaced(
              `invalid length ${index}, expected struct ${name} with ${known.length} element${known.length === 1 ? '' : 's'}`,
            )
          }
        }
        return Object.fromEntries(values) as T
      })
    }
    if (byte !== 0x7b) return refuse(reader, `struct ${name}`)
    const take = (given: string): void => {
      const key = names.get(given)
      if (key === undefined) return reader.field(given, () => reader.skip())
      if (values.has(key)) throw reader.unplaced(`duplicate field \`${key}\``)
      const { read } = fields[key as keyof T]
      values.set(
        key,
        reader.field(given, () => read(reader)),
      )
    }
    return reader.object(take, () => {
      for (const [key, { fallback }] of known) {
        if (values.has(key)) continue
        if (fallback === undefined) throw reader.unplaced(`missing field \`${key}\``)
        values.set(key, fallback())
      }
      return Object.fromEntries(values) as T
    })
  }
}

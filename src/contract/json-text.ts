/**
 * Reads JSON from outside within bounds. One pass over the text comes before `JSON.parse`: it finds what is no JSON, since V8's own
 * messages quote the text, and stops at too many values, keys or levels, which would take memory and time.
 */
import { PoolError } from './error.ts'
import { BODY_BOUNDS, describeExcess } from './shape.ts'
import type { Bounds, Excess } from './shape.ts'

/** What is wrong with a text. */
export interface JsonFlaw {
  readonly kind: 'not_json' | Excess
  /** Where its first bad token begins (offset in characters); at the text's end, it ends too early. */
  readonly at: number
  /** The first bad character inside that token, if it is a string. */
  readonly inside?: number
}

/** What may come next; `/` divides alternatives that an empty object or array adds. */
type Expected = 'value' | 'value or ]' | 'key' | 'key or }' | ':' | ', or end'

const QUOTE = 0x22
const COMMA = 0x2c
const COLON = 0x3a
const OPEN_LIST = 0x5b
const CLOSE_LIST = 0x5d
const OPEN_OBJECT = 0x7b
const CLOSE_OBJECT = 0x7d

/**
 * Parses a text that came from outside.
 *
 * @throws {@link PoolError} `INVALID_PARAMS` that names the place and never the content.
 */
export function parseJsonText(text: string, what: string): unknown {
  checkJsonText(text, what)
  return JSON.parse(text)
}

/**
 * Refuses what {@link parseJsonText} would: `JSON.parse` takes the rest.
 *
 * @throws {@link PoolError} `INVALID_PARAMS`
 */
export function checkJsonText(text: string, what: string): void {
  const flaw = findJsonFlaw(text)
  if (flaw !== undefined) throw new PoolError('INVALID_PARAMS', `${what}: ${describeFlaw(flaw, text.length)}`)
}

/** What is wrong, where, and what was expected; quotes nothing. */
export function describeFlaw({ kind, at }: JsonFlaw, length: number): string {
  if (kind !== 'not_json') return `${describeExcess(kind)} (from character ${at + 1} of ${length} on)`
  return at >= length
    ? `invalid JSON: ends too early, after ${length} characters`
    : `invalid JSON at character ${at + 1} of ${length}`
}

/** The first flaw of a text; undefined if it is JSON within the bounds (RFC 8259). */
export function findJsonFlaw(text: string, bounds: Bounds = BODY_BOUNDS): JsonFlaw | undefined {
  const closers = new Uint8Array(bounds.depth)
  const keys = new Uint32Array(bounds.depth)
  let depth = 0
  let values = 0
  let expected: Expected = 'value'
  let at = 0
  for (;;) {
    at = skipSpace(text, at)
    const code = text.charCodeAt(at)
    if (expected === ', or end') {
      if (depth === 0) return at === text.length ? undefined : { kind: 'not_json', at }
      const closer = closers[depth - 1]
      if (code === COMMA) expected = closer === CLOSE_OBJECT ? 'key' : 'value'
      else if (code === closer) depth -= 1
      else return { kind: 'not_json', at }
      at += 1
      continue
    }
    if (expected === ':') {
      if (code !== COLON) return { kind: 'not_json', at }
      expected = 'value'
      at += 1
      continue
    }
    const closesEmpty =
      (code === CLOSE_OBJECT && expected === 'key or }') || (code === CLOSE_LIST && expected === 'value or ]')
    if (closesEmpty) {
      depth -= 1
      expected = ', or end'
      at += 1
      continue
    }
    const isKey: boolean = expected === 'key' || expected === 'key or }'
    if (isKey ? code !== QUOTE : Number.isNaN(code)) return { kind: 'not_json', at }
    if (isKey) {
      const count = (keys[depth - 1] ?? 0) + 1
      if (count > bounds.keys) return { kind: 'keys', at }
      keys[depth - 1] = count
    } else {
      values += 1
      if (values > bounds.values) return { kind: 'values', at }
    }
    if (code === OPEN_OBJECT || code === OPEN_LIST) {
      if (depth === bounds.depth) return { kind: 'depth', at }
      closers[depth] = code + 2
      keys[depth] = 0
      depth += 1
      expected = code === OPEN_OBJECT ? 'key or }' : 'value or ]'
      at += 1
      continue
    }
    const end = code === QUOTE ? endOfString(text, at + 1) : endOfScalar(text, at)
    if (end < 0) return { kind: 'not_json', at, ...(code === QUOTE ? { inside: -end } : {}) }
    expected = isKey ? ':' : ', or end'
    at = end
  }
}

function skipSpace(text: string, from: number): number {
  const code = text.charCodeAt(from)
  // Compact JSON has none, and to look at one character is cheaper than to start the regex.
  return code === 0x20 || code === 0x0a || code === 0x0d || code === 0x09 ? endOf(SPACE, text, from) : from
}

/** Where a run of characters ends. A native loop: V8 may not have optimized one of ours yet. */
function endOf(run: RegExp, text: string, from: number): number {
  run.lastIndex = from
  run.test(text)
  return run.lastIndex
}

const SPACE = /[ \n\r\t]*/y
const DIGITS = /[0-9]*/y

/** Where the string ends whose first character is at `from`; the place of its first bad character, negated, if it has one. */
function endOfString(text: string, from: number): number {
  let at = from
  for (;;) {
    const end = endOf(CHARACTERS, text, at)
    if (end === at) return text.charCodeAt(at) === QUOTE ? at + 1 : -at
    at = end
  }
}

/**
 * Characters of a string (RFC 8259, section 7). Native code takes a fifth of the time of a loop over escapes; the regex engine
 * keeps a place to go back to for each repetition, so without a bound a long string would end with its stack.
 */
// oxlint-disable-next-line no-control-regex -- JSON's strings hold none
const CHARACTERS = /(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})){0,2000}/y

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39
}

const WORDS: Readonly<Record<string, string>> = { t: 'true', f: 'false', n: 'null' }

/** Where a number or a word ends; -1 if there is none. */
function endOfScalar(text: string, from: number): number {
  const word = WORDS[text[from] ?? '']
  if (word !== undefined) return text.startsWith(word, from) ? from + word.length : -1
  const first = text[from] === '-' ? from + 1 : from
  if (!isDigit(text.charCodeAt(first))) return -1
  const whole = text[first] === '0' ? first + 1 : endOf(DIGITS, text, first)
  const point = text[whole] === '.' ? endOf(DIGITS, text, whole + 1) : whole
  const fraction = point > whole + 1 ? point : whole
  if (text[fraction] !== 'e' && text[fraction] !== 'E') return fraction
  const sign = text[fraction + 1] === '-' || text[fraction + 1] === '+' ? 1 : 0
  const exponent = endOf(DIGITS, text, fraction + 1 + sign)
  return exponent > fraction + 1 + sign ? exponent : fraction
}

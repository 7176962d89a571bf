/**
 * Reads JSON byte by byte like serde_json 1.0.140, because TGI's refusals depend on it: values are checked in the order of the text,
 * a number's spelling decides its type (`1.0` is no integer), duplicate keys are refused, and text after the document is ignored.
 * `JSON.parse` preserves none of this.
 */

/** Where and why reading failed. `kind` decides the status: broken syntax, or a value of the wrong type. */
export class JsonFlaw extends Error {
  readonly kind: 'syntax' | 'data'
  /** Dotted, with `[i]` for elements; empty at the root. */
  readonly path: string
  /** Bytes before the reported place; undefined until the container that found the flaw ends. */
  offset: number | undefined

  constructor(kind: 'syntax' | 'data', message: string, path: string, offset?: number) {
    super(message)
    this.kind = kind
    this.path = path
    this.offset = offset
  }
}

/** A number by its spelling: integers that fit 64 bits, or floats. */
export type JsonNumber =
  | { readonly kind: 'integer'; readonly value: bigint }
  | { readonly kind: 'float'; readonly value: number }

export const QUOTE = 0x22
const BACKSLASH = 0x5c
export const MINUS = 0x2d
const ESCAPES: Readonly<Record<string, string>> = {
  '"': '"',
  '\\': '\\',
  '/': '/',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
}
const MAX_U64 = 0xffff_ffff_ffff_ffffn
const MIN_I64 = -0x8000_0000_0000_0000n
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Whether a byte is a digit. */
export const isDigit = (byte: number): boolean => byte >= 0x30 && byte <= 0x39

/** A cursor over a document that reads its scalars. A class, because place and path change with every value. */
export class JsonScanner {
  /** Keys and `[i]` from the root to the value being read. */
  readonly path: string[] = []
  /** How many bytes have been taken. */
  protected at = 0
  /** Overrides the path of flaws. */
  protected fixedPath: string | undefined
  readonly #bytes: Buffer

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  /** The next byte that is not white space, without taking it; -1 at the end. */
  peek(): number {
    for (;;) {
      const byte = this.#bytes[this.at] ?? -1
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return byte
      this.at += 1
    }
  }

  /** A flaw of the value just read, or of one just begun. */
  mismatch(message: string): JsonFlaw {
    return new JsonFlaw('data', message, this.pathText(), this.at)
  }

  /** A flaw of the container, not of a value: its place is where the container ends. */
  unplaced(message: string): JsonFlaw {
    return new JsonFlaw('data', message, this.pathText())
  }

  /** Broken syntax at the next byte, as `line l column c` counts it. */
  syntax(message: string): JsonFlaw {
    return new JsonFlaw('syntax', message, this.pathText(), Math.min(this.#bytes.length, this.at + 1))
  }

  /** The end of the refusal: columns count bytes from 1, or the bytes before the place. */
  placeOf(offset: number): string {
    const start = this.#bytes.subarray(0, offset).lastIndexOf(0x0a) + 1
    let line = 1
    for (let at = 0; at < start; at += 1) if (this.#bytes[at] === 0x0a) line += 1
    return `line ${line} column ${offset - start}`
  }

  /** Takes `null`, `true` or `false`; its first letter is next. */
  word(word: 'null' | 'true' | 'false'): void {
    this.at += 1
    for (const letter of word.slice(1)) {
      const byte = this.#bytes[this.at]
      if (byte === undefined) throw this.#taken('EOF while parsing a value')
      this.at += 1
      if (byte !== letter.charCodeAt(0)) throw this.#taken('expected ident')
    }
  }

  /** Takes a number; its first byte is next. */
  number(): JsonNumber {
    const start = this.at
    if (this.#bytes[this.at] === MINUS) this.at += 1
    this.#wholePart()
    const isWhole = this.#fractionAndExponent()
    const text = this.#bytes.toString('latin1', start, this.at)
    // serde reads `-0` and numbers beyond 64 bits as floats.
    if (isWhole && text !== '-0') {
      const value = BigInt(text)
      if (value <= MAX_U64 && value >= MIN_I64) return { kind: 'integer', value }
    }
    const value = Number(text)
    if (!Number.isFinite(value)) throw this.#taken('number out of range')
    return { kind: 'float', value }
  }

  /** Takes a string; its quote is next. */
  string(): string {
    const start = this.at + 1
    this.at = start
    let text = ''
    let from = start
    for (;;) {
      const byte = this.#bytes[this.at]
      if (byte === undefined) throw this.#taken('EOF while parsing a string')
      this.at += 1
      if (byte === QUOTE) return text + this.#decode(from, this.at - 1)
      if (byte < 0x20) {
        throw this.#taken('control character (\\u0000-\\u001F) found while parsing a string')
      }
      if (byte !== BACKSLASH) continue
      text += this.#decode(from, this.at - 1) + this.#escape()
      from = this.at
    }
  }

  protected pathText(): string {
    if (this.fixedPath !== undefined) return this.fixedPath
    // `?` stands for a key that could not be read; at the root it is omitted.
    return this.path.length === 1 && this.path[0] === '?' ? '' : this.path.join('.').replaceAll('.[', '[')
  }

  /** Broken syntax in the byte just taken. */
  #taken(message: string): JsonFlaw {
    return new JsonFlaw('syntax', message, this.pathText(), this.at)
  }

  #wholePart(): void {
    const first = this.#bytes[this.at]
    if (first === undefined) throw this.#taken('EOF while parsing a value')
    this.at += 1
    if (!isDigit(first)) throw this.#taken('invalid number')
    if (first !== 0x30) this.#digits()
    else if (isDigit(this.#bytes[this.at] ?? -1)) throw this.syntax('invalid number')
  }

  #fractionAndExponent(): boolean {
    let isWhole = true
    if (this.#bytes[this.at] === 0x2e) {
      isWhole = false
      this.at += 1
      if (this.#digits() === 0) {
        const isEnd = this.at >= this.#bytes.length
        throw this.syntax(isEnd ? 'EOF while parsing a value' : 'invalid number')
      }
    }
    const mark = this.#bytes[this.at]
    if (mark !== 0x65 && mark !== 0x45) return isWhole
    this.at += 1
    const sign = this.#bytes[this.at]
    if (sign === 0x2b || sign === MINUS) this.at += 1
    this.#wholeExponent()
    return false
  }

  #wholeExponent(): void {
    const first = this.#bytes[this.at]
    if (first === undefined) throw this.#taken('EOF while parsing a value')
    this.at += 1
    if (!isDigit(first)) throw this.#taken('invalid number')
    this.#digits()
  }

  #digits(): number {
    const start = this.at
    while (isDigit(this.#bytes[this.at] ?? -1)) this.at += 1
    return this.at - start
  }

  #decode(from: number, to: number): string {
    try {
      return utf8.decode(this.#bytes.subarray(from, to))
    } catch {
      throw this.#taken('invalid unicode code point')
    }
  }

  #escape(): string {
    const byte = this.#bytes[this.at]
    if (byte === undefined) throw this.#taken('EOF while parsing a string')
    this.at += 1
    if (byte !== 0x75) {
      const text = ESCAPES[String.fromCharCode(byte)]
      if (text === undefined) throw this.#taken('invalid escape')
      return text
    }
    const unit = this.#hex()
    if (unit < 0xd800 || unit > 0xdfff) return String.fromCharCode(unit)
    if (unit >= 0xdc00) throw this.#taken('lone leading surrogate in hex escape')
    for (const expected of [BACKSLASH, 0x75]) {
      const next = this.#bytes[this.at]
      if (next === undefined) throw this.#taken('EOF while parsing a string')
      this.at += 1
      if (next !== expected) throw this.#taken('unexpected end of hex escape')
    }
    const other = this.#hex()
    if (other < 0xdc00 || other > 0xdfff) throw this.#taken('lone leading surrogate in hex escape')
    return String.fromCharCode(unit, other)
  }

  #hex(): number {
    const digits = this.#bytes.toString('latin1', this.at, this.at + 4)
    this.at += digits.length
    if (digits.length < 4) throw this.#taken('EOF while parsing a string')
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) throw this.#taken('invalid escape')
    return Number.parseInt(digits, 16)
  }
}

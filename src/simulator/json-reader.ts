/**
 * Reads JSON byte by byte as serde_json 1.0.140 does, since TGI's refusals show how it reads: values are checked in the order of
 * the text, a number's spelling decides its type (`1.0` is no integer), a key may not come twice, and what follows the document is
 * never looked at. `JSON.parse` keeps none of this.
 */

/** Where and why reading ended. `kind` decides the status: broken syntax, or a value that does not fit. */
export class JsonFlaw extends Error {
  readonly kind: 'syntax' | 'data'
  /** Dotted, with `[i]` for elements; empty at the root. */
  readonly path: string
  /** How many bytes lie before the reported place; undefined until the container that found it has been left. */
  offset: number | undefined

  constructor(kind: 'syntax' | 'data', message: string, path: string, offset?: number) {
    super(message)
    this.kind = kind
    this.path = path
    this.offset = offset
  }
}

/** A number as it is spelled: whole ones that fit 64 bits are integers, all others floats. */
export type JsonNumber =
  | { readonly kind: 'integer'; readonly value: bigint }
  | { readonly kind: 'float'; readonly value: number }

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COMMA = 0x2c
const MINUS = 0x2d
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
const MAX_DEPTH = 127
const MAX_U64 = 0xffff_ffff_ffff_ffffn
const MIN_I64 = -0x8000_0000_0000_0000n
const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

const isDigit = (byte: number): boolean => byte >= 0x30 && byte <= 0x39

/** A cursor over a document. A class because position, path and depth change with every value. */
export class JsonReader {
  /** Keys and `[i]` from the root to the value being read. */
  readonly path: string[] = []
  readonly #bytes: Buffer
  #at = 0
  #depth = 0
  #skipped: string | undefined

  constructor(bytes: Buffer) {
    this.#bytes = bytes
  }

  /** The next byte that is no white space, not yet taken; -1 at the end. */
  peek(): number {
    for (;;) {
      const byte = this.#bytes[this.#at] ?? -1
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) return byte
      this.#at += 1
    }
  }

  /** A flaw of the value just read, or of one just begun. */
  mismatch(message: string): JsonFlaw {
    return new JsonFlaw('data', message, this.#pathText(), this.#at)
  }

  /** A flaw that the container finds, not a value: its place is where the container has been left. */
  unplaced(message: string): JsonFlaw {
    return new JsonFlaw('data', message, this.#pathText())
  }

  /** Broken syntax at the next byte, as `line l column c` counts it. */
  syntax(message: string): JsonFlaw {
    return new JsonFlaw('syntax', message, this.#pathText(), Math.min(this.#bytes.length, this.#at + 1))
  }

  /** The refusal's last words: columns count bytes from 1, or those before the place. */
  placeOf(offset: number): string {
    const start = this.#bytes.subarray(0, offset).lastIndexOf(0x0a) + 1
    let line = 1
    for (let at = 0; at < start; at += 1) if (this.#bytes[at] === 0x0a) line += 1
    return `line ${line} column ${offset - start}`
  }

  /** Takes `null`, `true` or `false`, whose first letter is next. */
  word(word: 'null' | 'true' | 'false'): void {
    this.#at += 1
    for (const letter of word.slice(1)) {
      const byte = this.#bytes[this.#at]
      if (byte === undefined) throw this.#taken('EOF while parsing a value')
      this.#at += 1
      if (byte !== letter.charCodeAt(0)) throw this.#taken('expected ident')
    }
  }

  /** Takes a number, whose first byte is next. */
  number(): JsonNumber {
    const start = this.#at
    if (this.#bytes[this.#at] === MINUS) this.#at += 1
    this.#wholePart()
    const isWhole = this.#fractionAndExponent()
    const text = this.#bytes.toString('latin1', start, this.#at)
    // serde reads `-0` as a float, and what 64 bits do not hold.
    if (isWhole && text !== '-0') {
      const value = BigInt(text)
      if (value <= MAX_U64 && value >= MIN_I64) return { kind: 'integer', value }
    }
    const value = Number(text)
    if (!Number.isFinite(value)) throw this.#taken('number out of range')
    return { kind: 'float', value }
  }

  /** Takes a string, whose quote is next. */
  string(): string {
    const start = this.#at + 1
    this.#at = start
    let text = ''
    let from = start
    for (;;) {
      const byte = this.#bytes[this.#at]
      if (byte === undefined) throw this.#taken('EOF while parsing a string')
      this.#at += 1
      if (byte === QUOTE) return text + this.#decode(from, this.#at - 1)
      if (byte < 0x20) {
        throw this.#taken('control character (\\u0000-\\u001F) found while parsing a string')
      }
      if (byte !== BACKSLASH) continue
      text += this.#decode(from, this.#at - 1) + this.#escape()
      from = this.#at
    }
  }

  /**
   * Takes an object, whose brace is next: `take` is called with each key and takes its value with {@link field}. What `take` or
   * `end` throws without a place gets the one where the object has been left.
   */
  object<T>(take: (key: string) => void, end: () => T): T {
    return this.#inside('}', () => {
      for (let isFirst = true; ; isFirst = false) {
        this.path.push('?')
        const key = this.#hasKey(isFirst) ? this.string() : undefined
        this.path.pop()
        if (key === undefined) return end()
        take(key)
      }
    })
  }

  /** Takes the colon behind a key and the value behind the colon. */
  field<T>(key: string, read: () => T): T {
    const byte = this.peek()
    if (byte === -1) throw this.syntax('EOF while parsing an object')
    if (byte !== 0x3a) throw this.syntax('expected `:`')
    this.#at += 1
    this.path.push(key)
    const value = read()
    this.path.pop()
    return value
  }

  /** Takes an array, whose bracket is next: `take` is called while there are elements, `end` when it has returned. */
  array<T>(take: (next: () => boolean) => T): T {
    return this.#inside(']', () => {
      let index = -1
      let isInside = false
      return take(() => {
        if (isInside) this.path.pop()
        isInside = this.#hasElement(index < 0)
        if (isInside) this.path.push(`[${(index += 1)}]`)
        return isInside
      })
    })
  }

  /** Any value, plain: numbers beyond 2^53 lose digits, of a key that comes twice the last value counts. */
  any(): unknown {
    const byte = this.peek()
    if (byte === 0x7b) {
      const entries: [string, unknown][] = []
      const take = (key: string): void => {
        entries.push([key, this.field(key, () => this.any())])
      }
      return this.object(take, () => Object.fromEntries(entries))
    }
    if (byte === 0x5b) {
      return this.array((next) => {
        const items: unknown[] = []
        while (next()) items.push(this.any())
        return items
      })
    }
    if (byte === QUOTE) return this.string()
    if (byte === MINUS || isDigit(byte)) return Number(this.number().value)
    return this.#constant(byte)
  }

  /** Any value, thrown away. What is wrong inside is reported at the value itself, whose inside serde never names. */
  skip(): void {
    this.#skipped = this.#pathText()
    this.any()
    this.#skipped = undefined
  }

  #constant(byte: number): null | boolean {
    if (byte === -1) throw this.syntax('EOF while parsing a value')
    if (byte !== 0x6e && byte !== 0x74 && byte !== 0x66) throw this.syntax('expected value')
    this.word(byte === 0x6e ? 'null' : byte === 0x74 ? 'true' : 'false')
    return byte === 0x6e ? null : byte === 0x74
  }

  #pathText(): string {
    if (this.#skipped !== undefined) return this.#skipped
    // `?` stands for a key that could not be read, and at the root for nothing.
    return this.path.length === 1 && this.path[0] === '?' ? '' : this.path.join('.').replaceAll('.[', '[')
  }

  /** Broken syntax in the byte just taken. */
  #taken(message: string): JsonFlaw {
    return new JsonFlaw('syntax', message, this.#pathText(), this.#at)
  }

  #inside<T>(close: '}' | ']', read: () => T): T {
    if (this.#depth === MAX_DEPTH) throw this.syntax('recursion limit exceeded')
    this.#depth += 1
    this.#at += 1
    const depth = this.path.length
    let value: T
    try {
      value = read()
    } catch (error) {
      if (error instanceof JsonFlaw && error.offset === undefined) {
        // serde leaves the container before it looks where it is.
        if (this.peek() === close.charCodeAt(0)) this.#at += 1
        error.offset = this.#at
      }
      throw error
    }
    this.path.length = depth
    this.#depth -= 1
    if (this.peek() !== close.charCodeAt(0)) throw this.#notClosed(close)
    this.#at += 1
    return value
  }

  #notClosed(close: '}' | ']'): JsonFlaw {
    const byte = this.peek()
    if (byte === -1) return this.syntax(`EOF while parsing ${close === ']' ? 'a list' : 'an object'}`)
    if (byte === COMMA && close === ']') {
      this.#at += 1
      if (this.peek() === 0x5d) return this.syntax('trailing comma')
    }
    return this.syntax('trailing characters')
  }

  #hasKey(isFirst: boolean): boolean {
    let byte = this.peek()
    if (byte === 0x7d) return false
    if (byte === -1) throw this.syntax('EOF while parsing an object')
    if (!isFirst) {
      if (byte !== COMMA) throw this.syntax('expected `,` or `}`')
      this.#at += 1
      byte = this.peek()
      if (byte === -1) throw this.syntax('EOF while parsing a value')
      if (byte === 0x7d) throw this.syntax('trailing comma')
    }
    if (byte !== QUOTE) throw this.syntax('key must be a string')
    return true
  }

  #hasElement(isFirst: boolean): boolean {
    const byte = this.peek()
    if (byte === 0x5d) return false
    if (byte === -1) throw this.syntax('EOF while parsing a list')
    if (isFirst) return true
    if (byte !== COMMA) throw this.syntax('expected `,` or `]`')
    this.#at += 1
    const next = this.peek()
    if (next === -1) throw this.syntax('EOF while parsing a value')
    if (next === 0x5d) throw this.syntax('trailing comma')
    return true
  }

  #wholePart(): void {
    const first = this.#bytes[this.#at]
    if (first === undefined) throw this.#taken('EOF while parsing a value')
    this.#at += 1
    if (!isDigit(first)) throw this.#taken('invalid number')
    if (first !== 0x30) this.#digits()
    else if (isDigit(this.#bytes[this.#at] ?? -1)) throw this.syntax('invalid number')
  }

  #fractionAndExponent(): boolean {
    let isWhole = true
    if (this.#bytes[this.#at] === 0x2e) {
      isWhole = false
      this.#at += 1
      if (this.#digits() === 0) {
        const isEnd = this.#at >= this.#bytes.length
        throw this.syntax(isEnd ? 'EOF while parsing a value' : 'invalid number')
      }
    }
    const mark = this.#bytes[this.#at]
    if (mark !== 0x65 && mark !== 0x45) return isWhole
    this.#at += 1
    const sign = this.#bytes[this.#at]
    if (sign === 0x2b || sign === MINUS) this.#at += 1
    this.#wholeExponent()
    return false
  }

  #wholeExponent(): void {
    const first = this.#bytes[this.#at]
    if (first === undefined) throw this.#taken('EOF while parsing a value')
    this.#at += 1
    if (!isDigit(first)) throw this.#taken('invalid number')
    this.#digits()
  }

  #digits(): number {
    const start = this.#at
    while (isDigit(this.#bytes[this.#at] ?? -1)) this.#at += 1
    return this.#at - start
  }

  #decode(from: number, to: number): string {
    try {
      return utf8.decode(this.#bytes.subarray(from, to))
    } catch {
      throw this.#taken('invalid unicode code point')
    }
  }

  #escape(): string {
    const byte = this.#bytes[this.#at]
    if (byte === undefined) throw this.#taken('EOF while parsing a string')
    this.#at += 1
    if (byte !== 0x75) {
      const text = ESCAPES[String.fromCharCode(byte)]
      if (text === undefined) throw this.#taken('invalid escape')
      return text
    }
    const unit = this.#hex()
    if (unit < 0xd800 || unit > 0xdfff) return String.fromCharCode(unit)
    if (unit >= 0xdc00) throw this.#taken('lone leading surrogate in hex escape')
    for (const expected of [BACKSLASH, 0x75]) {
      const next = this.#bytes[this.#at]
      if (next === undefined) throw this.#taken('EOF while parsing a string')
      this.#at += 1
      if (next !== expected) throw this.#taken('unexpected end of hex escape')
    }
    const other = this.#hex()
    if (other < 0xdc00 || other > 0xdfff) throw this.#taken('lone leading surrogate in hex escape')
    return String.fromCharCode(unit, other)
  }

  #hex(): number {
    const digits = this.#bytes.toString('latin1', this.#at, this.#at + 4)
    this.#at += digits.length
    if (digits.length < 4) throw this.#taken('EOF while parsing a string')
    if (!/^[0-9a-fA-F]{4}$/.test(digits)) throw this.#taken('invalid escape')
    return Number.parseInt(digits, 16)
  }
}

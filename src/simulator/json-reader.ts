import { isDigit, JsonFlaw, JsonScanner, MINUS, QUOTE } from './json-scanner.ts'

const COMMA = 0x2c
/** How deep serde_json reads nested objects and arrays. */
const MAX_DEPTH = 127

/** A cursor over a document. */
export class JsonReader extends JsonScanner {
  #depth = 0

  /**
   * Takes an object; its brace is next. Calls `take` with each key, which takes the value with {@link field}. A flaw that `take` or
   * `end` throws without a place gets the place where the object ends.
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

  /** Takes the colon after a key, and the value. */
  field<T>(key: string, read: () => T): T {
    const byte = this.peek()
    if (byte === -1) throw this.syntax('EOF while parsing an object')
    if (byte !== 0x3a) throw this.syntax('expected `:`')
    this.at += 1
    this.path.push(key)
    const value = read()
    this.path.pop()
    return value
  }

  /** Takes an array; its bracket is next. Calls `take` while there are elements, then `end`. */
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

  /** Any value. Numbers beyond 2^53 lose digits; of a duplicate key the last value counts. */
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

  /** Skips any value. A flaw inside is reported at the value itself, as serde does. */
  skip(): void {
    this.fixedPath = this.pathText()
    this.any()
    this.fixedPath = undefined
  }

  #constant(byte: number): null | boolean {
    if (byte === -1) throw this.syntax('EOF while parsing a value')
    if (byte !== 0x6e && byte !== 0x74 && byte !== 0x66) throw this.syntax('expected value')
    this.word(byte === 0x6e ? 'null' : byte === 0x74 ? 'true' : 'false')
    return byte === 0x6e ? null : byte === 0x74
  }

  #inside<T>(close: '}' | ']', read: () => T): T {
    if (this.#depth === MAX_DEPTH) throw this.syntax('recursion limit exceeded')
    this.#depth += 1
    this.at += 1
    const depth = this.path.length
    let value: T
    try {
      value = read()
    } catch (error) {
      if (error instanceof JsonFlaw && error.offset === undefined) {
        // serde leaves the container before it notes the position.
        if (this.peek() === close.charCodeAt(0)) this.at += 1
        error.offset = this.at
      }
      throw error
    }
    this.path.length = depth
    this.#depth -= 1
    if (this.peek() !== close.charCodeAt(0)) throw this.#notClosed(close)
    this.at += 1
    return value
  }

  #notClosed(close: '}' | ']'): JsonFlaw {
    const byte = this.peek()
    if (byte === -1) return this.syntax(`EOF while parsing ${close === ']' ? 'a list' : 'an object'}`)
    if (byte === COMMA && close === ']') {
      this.at += 1
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
      this.at += 1
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
    this.at += 1
    const next = this.peek()
    if (next === -1) throw this.syntax('EOF while parsing a value')
    if (next === 0x5d) throw this.syntax('trailing comma')
    return true
  }
}

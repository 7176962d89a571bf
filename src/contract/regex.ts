/**
 * Finds what no regex engine behind TGI accepts. TGI's router does not check a regex; a broken one fails its whole batch in the
 * shard (`generation`). Engines differ, so this refuses only what interegular (outlines' parser), Python's `re` and Rust's `regex`
 * all refuse, and accepts all else: `(?P<n>…)`, possessive quantifiers, `\p{L}`, nested classes.
 */

/** A flaw and how many UTF-16 units lie before it. */
export interface RegexFlaw {
  readonly message: string
  readonly at: number
}

/** Where the class that begins at `[` ends. The dialects read `[]a]` and `[a[b]]` in three ways. */
type ClassRule = (pattern: string, open: number) => number

const skipEscape = (pattern: string, at: number): number => (pattern[at] === '\\' ? at + 2 : at + 1)

/** interegular: the first `]` ends it, so `[]` is an empty class. */
const first: ClassRule = (pattern, open) => {
  let at = open + (pattern[open + 1] === '^' ? 2 : 1)
  while (at < pattern.length && pattern[at] !== ']') at = skipEscape(pattern, at)
  return at < pattern.length ? at : -1
}

/** Python: a `]` that comes first is a character of the class. */
const literal: ClassRule = (pattern, open) => {
  let at = open + (pattern[open + 1] === '^' ? 2 : 1)
  at = skipEscape(pattern, at)
  while (at < pattern.length && pattern[at] !== ']') at = skipEscape(pattern, at)
  return at < pattern.length ? at : -1
}

/** Rust: the same, and classes hold classes. */
const nested: ClassRule = (pattern, open) => {
  let depth = 0
  for (let at = open; at < pattern.length;) {
    if (pattern[at] === '[') {
      depth += 1
      at += pattern[at + 1] === '^' ? 2 : 1
      if (pattern[at] === ']') at += 1
      continue
    }
    if (pattern[at] === ']' && (depth -= 1) === 0) return at
    at = skipEscape(pattern, at)
  }
  return -1
}

const RULES = [first, literal, nested] as const

/** Letters that no dialect allows after a backslash. */
const MEANINGLESS = /[CEFGHIJKLMOQRTVXYceghijklmoqy]/
const HEX: Readonly<Record<string, RegExp>> = {
  x: /^(?:[0-9a-fA-F]{2}|\{[0-9a-fA-F]+\})/,
  u: /^(?:[0-9a-fA-F]{4}|\{[0-9a-fA-F]+\})/,
  U: /^(?:[0-9a-fA-F]{8}|\{[0-9a-fA-F]+\})/,
}

/** What is wrong with the escape whose backslash is at `at`. */
function escapeFlaw(pattern: string, at: number): RegexFlaw | undefined {
  const letter = pattern[at + 1]
  if (letter === undefined) return { message: 'a backslash escapes nothing', at }
  if (MEANINGLESS.test(letter)) return { message: `\\${letter} is no escape`, at }
  const digits = HEX[letter]
  if (digits?.test(pattern.slice(at + 2, at + 16)) === false) {
    return { message: `\\${letter} lacks its hexadecimal digits`, at }
  }
  const isProperty = letter === 'p' || letter === 'P'
  if (isProperty && !/^(?:[A-Za-z]|\{[^}]{1,100}\}|\{\^)/.test(pattern.slice(at + 2, at + 104))) {
    return { message: `\\${letter} lacks the name of its property`, at }
  }
  return undefined
}

/** What is wrong inside the class from `open` to `close`. */
function classFlaw(pattern: string, open: number, close: number): RegexFlaw | undefined {
  let at = open + (pattern[open + 1] === '^' ? 2 : 1)
  while (at < close) {
    if (pattern[at] === '\\') {
      const flaw = escapeFlaw(pattern, at)
      if (flaw !== undefined) return flaw
      at += 2
      continue
    }
    const [low = '', dash, high = ''] = pattern.slice(at, at + 3)
    // Only plain letters and digits: other characters may have a meaning of their own.
    if (dash === '-' && /\w/.test(low) && /\w/.test(high) && low > high && at + 2 < close) {
      return { message: `the range ${low}-${high} runs backwards`, at }
    }
    at += dash === '-' && at + 2 < close && high !== '\\' ? 3 : 1
  }
  return undefined
}

/** Where the opening of the group at `at` ends, what is wrong with it, or the end of a comment. */
function groupHead(
  pattern: string,
  at: number,
): { readonly end: number; readonly opens: boolean } | RegexFlaw {
  if (pattern[at + 1] !== '?') return { end: at + 1, opens: true }
  if (pattern[at + 2] === '#') {
    const end = pattern.indexOf(')', at)
    return end < 0 ? { message: 'a comment is not closed', at } : { end: end + 1, opens: false }
  }
  const named = /^\(\?P?<(?![=!])(\w*)(>?)/.exec(pattern.slice(at, at + 260))
  if (named !== null) {
    const [whole, name, end] = named
    const isAtEnd = at + whole.length === pattern.length
    if (name === '' && (end === '>' || isAtEnd)) return { message: 'a group lacks its name', at }
    if (end === '' && isAtEnd) return { message: 'the name of a group is not closed', at }
  }
  // `?` belongs to the group; the rest is read as text. `(?i)` and `(?=` are groups, too.
  return { end: at + 2, opens: true }
}

const COUNT = /^\{(\d+),(\d+)\}/

function countFlaw(pattern: string, at: number): RegexFlaw | undefined {
  const [, low, high] = COUNT.exec(pattern.slice(at, at + 40)) ?? []
  if (low === undefined || high === undefined || BigInt(low) <= BigInt(high)) return undefined
  return { message: `the repetition {${low},${high}} runs backwards`, at }
}

/** One reading of a pattern. */
function scan(pattern: string, endOfClass: ClassRule): RegexFlaw | undefined {
  const groups: number[] = []
  /** A quantifier may follow here. */
  let isRepeatable = false
  let at = 0
  while (at < pattern.length) {
    const character = pattern[at]
    if (character === '\\') {
      const flaw = escapeFlaw(pattern, at)
      if (flaw !== undefined) return flaw
      isRepeatable = true
      at += 2
    } else if (character === '[') {
      const close = endOfClass(pattern, at)
      if (close < 0) return { message: 'a character class is not closed', at }
      const flaw = classFlaw(pattern, at, close)
      if (flaw !== undefined) return flaw
      isRepeatable = true
      at = close + 1
    } else if (character === '(') {
      const head = groupHead(pattern, at)
      if ('message' in head) return head
      if (head.opens) groups.push(at)
      isRepeatable = false
      // Flags, names and look-arounds may hold what looks like a quantifier: `(?<=`, `(?>`.
      at = head.end
      if (head.opens && pattern[at - 1] === '?') at += 1
    } else if (character === ')') {
      if (groups.pop() === undefined) return { message: 'a parenthesis closes nothing', at }
      isRepeatable = true
      at += 1
    } else if (character === '|') {
      isRepeatable = false
      at += 1
    } else if (character === '*' || character === '+' || character === '?') {
      if (!isRepeatable) return { message: `${character} repeats nothing`, at }
      at += 1
    } else {
      const flaw = character === '{' && isRepeatable ? countFlaw(pattern, at) : undefined
      if (flaw !== undefined) return flaw
      isRepeatable = true
      at += 1
    }
  }
  const open = groups.pop()
  return open === undefined ? undefined : { message: 'a group is not closed', at: open }
}

/** Comments in verbose mode may hold anything. */
const VERBOSE = /\(\?[a-zA-Z]*x/

/**
 * Why a regex is broken in every dialect; undefined if one of them may accept it. Runs in time linear in the pattern's length.
 */
export function regexFlaw(pattern: string): RegexFlaw | undefined {
  if (VERBOSE.test(pattern)) return undefined
  let flaw: RegexFlaw | undefined
  for (const rule of RULES) {
    const found = scan(pattern, rule)
    if (found === undefined) return undefined
    flaw ??= found
  }
  return flaw
}

/** White space, then one token: punctuation, a string, a number or a word. */
const TOKEN =
  // oxlint-disable-next-line no-control-regex -- JSON's strings hold none (RFC 8259, section 7)
  /[\t\n\r ]*(?:([{}[\],:])|("[^"\\\u0000-\u001f]*(?:\\(?:["\\/bfnrt]|u[\dA-Fa-f]{4})[^"\\\u0000-\u001f]*)*")|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null)/y
const SPACE = /[\t\n\r ]*/y

/** What may come next; `/` divides alternatives that an empty object or array adds. */
type Expected = 'value' | 'value or ]' | 'key' | 'key or }' | ':' | ', or end'

/**
 * Where a text that is no JSON stops being it (offset in characters). V8's own messages quote the text as often as they
 * tell the place; a prompt must not stand in a message.
 */
export function findJsonFault(text: string): number {
  const open: string[] = []
  let expected: Expected = 'value'
  let at = 0
  for (;;) {
    if (expected === ', or end' && open.length === 0) return skipSpace(text, at)
    TOKEN.lastIndex = at
    const match = TOKEN.exec(text)
    if (match === null) return skipSpace(text, at)
    const next = follow(expected, match[1] ?? (match[2] === undefined ? 'scalar' : 'string'), open)
    if (next === undefined) return skipSpace(text, at)
    expected = next
    at = TOKEN.lastIndex
  }
}

function follow(expected: Expected, token: string, open: string[]): Expected | undefined {
  const closes = token === ']' || token === '}'
  if (closes) {
    const fits = expected === `value or ${token}` || expected === `key or ${token}` || expected === ', or end'
    return fits && open.pop() === token ? ', or end' : undefined
  }
  if (expected === ':') return token === ':' ? 'value' : undefined
  if (expected === ', or end') return token === ',' ? (open.at(-1) === '}' ? 'key' : 'value') : undefined
  if (expected === 'key' || expected === 'key or }') return token === 'string' ? ':' : undefined
  if (token === '{' || token === '[') {
    open.push(token === '{' ? '}' : ']')
    return token === '{' ? 'key or }' : 'value or ]'
  }
  return token === 'scalar' || token === 'string' ? ', or end' : undefined
}

function skipSpace(text: string, at: number): number {
  SPACE.lastIndex = at
  SPACE.exec(text)
  return SPACE.lastIndex
}

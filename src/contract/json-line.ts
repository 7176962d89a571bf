/** What some readers of lines take for a line's end and JSON.stringify leaves as it is: NEL, LS and PS. */
const LINE_BREAKS = /[\u0085\u2028\u2029]/g

/**
 * A value as JSON that is one line to every reader. Python's `splitlines` and httpx end a line at U+2028, U+2029 and U+0085,
 * Node's readline at the first two: as escapes they mean the same.
 */
export function jsonLine(value: unknown): string {
  const text = JSON.stringify(value)
  // Hardly any token has one, and to look costs 20 ns like this; a regular expression takes 100 to 400 (JSON.stringify 300).
  const has = (character: string) => text.indexOf(character) !== -1
  return has('\u0085') || has('\u2028') || has('\u2029') ? text.replace(LINE_BREAKS, escaped) : text
}

function escaped(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}

/** The longest quotation of a server (characters). */
export const MAX_QUOTE_CHARS = 200

/** Control characters, line and paragraph separators, and the marks that turn text round in a terminal. */
const UNPRINTABLE = /[\p{Cc}\p{Zl}\p{Zp}\u200e\u200f\u202a-\u202e\u2066-\u2069]+/gu

/** A text as one line of at most so many characters, safe for logs and terminals. */
export function oneLine(text: string, maxChars: number): string {
  // Cutting first bounds the work on a huge text; a cut pair of surrogates is repaired by toWellFormed.
  const line = text
    .slice(0, maxChars * 4)
    .replace(UNPRINTABLE, ' ')
    .trim()
  return (line.length <= maxChars ? line : `${line.slice(0, maxChars - 1)}…`).toWellFormed()
}

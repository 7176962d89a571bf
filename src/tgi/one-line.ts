import { UNFIT } from '../runtime/terminal.ts'

/** The longest quotation of a server (characters). */
export const MAX_QUOTE_CHARS = 200

/** What no terminal may get, and what would end the line. */
const UNPRINTABLE = new RegExp(`(?:${UNFIT.source}|[\\t\\n])+`, 'gv')

/** A text as one line of at most so many characters, safe for logs and terminals. */
export function oneLine(text: string, maxChars: number): string {
  // Cutting first bounds the work on a huge text; a cut pair of surrogates is repaired by toWellFormed.
  const line = text
    .slice(0, maxChars * 4)
    .replace(UNPRINTABLE, ' ')
    .trim()
  return (line.length <= maxChars ? line : `${line.slice(0, maxChars - 1)}…`).toWellFormed()
}

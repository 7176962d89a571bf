import { expect } from 'vitest'

/** What differs from run to run. */
const VARIES: readonly (readonly [RegExp, string])[] = [
  // UUIDs, before their digits are taken for numbers.
  [/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, '[0-9a-f-]{36}'],
  [/\d+(?:[.,:]\d+)*/g, String.raw`\d+(?:[.,:]\d+)*`],
  [/\s*…\s*/g, String.raw`[^]*?`],
  // Columns are as wide as what is in them.
  [/ {2,}/g, ' +'],
]

/**
 * Checks what a document says that a command prints: `…` stands for anything, a number for any number and a UUID for any
 * other. What is printed before and after need not be shown.
 */
export function checkOutput(printed: string, shown: string): void {
  expect(printed).toMatch(new RegExp(patternOf(shown.trim()), 'm'))
}

function patternOf(text: string): string {
  const parts = VARIES.reduce<readonly Part[]>(
    (pieces, [varies, pattern]) => pieces.flatMap((piece) => splitPart(piece, varies, pattern)),
    [{ text }],
  )
  return parts
    .map((part) =>
      'text' in part ? part.text.replaceAll(/[\\^$.*+?()[\]{}|]/g, String.raw`\$&`) : part.pattern,
    )
    .join('')
}

type Part = { readonly text: string } | { readonly pattern: string }

/** Takes out of a text whatever varies. */
function splitPart(part: Part, varies: RegExp, pattern: string): Part[] {
  if (!('text' in part)) return [part]
  return part.text
    .split(varies)
    .flatMap((text, index) => (index === 0 ? [{ text }] : [{ pattern }, { text }]))
}

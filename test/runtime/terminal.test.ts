import { readFile, readdir } from 'node:fs/promises'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createTerminalText, terminalLine, terminalText } from '../../src/runtime/terminal.ts'

/** Code points that no terminal may get, by number; newline and tab are the only exceptions among controls. */
const FORBIDDEN: readonly (readonly [number, number])[] = [
  [0x00, 0x08],
  [0x0b, 0x1f],
  [0x7f, 0x9f],
  [0xad, 0xad],
  [0x61c, 0x61c],
  [0x180e, 0x180e],
  [0x200e, 0x200f],
  [0x2028, 0x202e],
  [0x2060, 0x206f],
  [0xfeff, 0xfeff],
  [0xfff9, 0xfffb],
  [0xe0000, 0xe0fff],
]

function forbiddenIn(text: string): string[] {
  return Array.from(text).filter((character) => {
    const code = character.codePointAt(0) ?? 0
    return FORBIDDEN.some(([from, to]) => from <= code && code <= to)
  })
}

test.each([
  ['OSC 52, which sets the clipboard', '\u001b]52;c;aGk=\u0007', String.raw`\u001b]52;c;aGk=\u0007`],
  ['the same in C1', '\u009d52;c;aGk=\u009c', String.raw`\u009d52;c;aGk=\u009c`],
  ['a color', 'a\u001b[31mb', String.raw`a\u001b[31mb`],
  ['a lone carriage return', 'safe\revil', String.raw`safe\revil`],
  ['CR LF', 'one\r\ntwo\r\r\n', 'one\ntwo\\r\n'],
  ['backspace, delete, NUL and bell', '\b\u007f\0\u0007', String.raw`\b\u007f\u0000\u0007`],
  [
    'overrides and isolates',
    '\u202eabc\u202c \u2066x\u2069 \u200f',
    String.raw`\u202eabc\u202c \u2066x\u2069 \u200f`,
  ],
  ['separators', 'a\u2028b\u2029c\u0085', String.raw`a\u2028b\u2029c\u0085`],
  ['tag characters', 'x\u{e0041}', String.raw`x\udb40\udc41`],
])('%s is shown, not obeyed', (_, given, shown) => {
  expect(terminalText(given)).toBe(shown)
})

test.each([
  ['newlines and tabs', 'a\tb\n\nc'],
  ['emoji of several', '👩‍👩‍👧 ❤️ 🇩🇪 👍🏽'],
  ['Persian, with a non-joiner', 'می‌خواهم'],
  ['Khmer, with zero-width spaces', 'ខ្មែរ\u200bភាសា'],
  ['combining marks', 'e\u0301 नमस्ते'],
  ['what looks like an escape', String.raw`\u001b and \n`],
])('%s stay as they are', (_, text) => {
  expect(terminalText(text)).toBe(text)
})

test('a line stays a line', () => {
  expect(terminalLine('a\nb\tc\r\nd')).toBe(String.raw`a\nb\tc\r\nd`)
})

/** Texts made of what matters, and of anything. */
const texts = fc.oneof(
  fc.string({ unit: 'binary' }),
  fc
    .array(
      fc.constantFrom(
        '\u001b',
        ']52;c;',
        '\u0007',
        '\r',
        '\n',
        '\r\n',
        'x',
        '😀',
        '\u{e0041}',
        '\u202e',
        '\u009b',
        '\t',
      ),
    )
    .map((parts) => parts.join('')),
)

test('nothing that is forbidden survives, and the rest does', () => {
  fc.assert(
    fc.property(texts, (text) => {
      expect(forbiddenIn(terminalText(text))).toEqual([])
      expect(forbiddenIn(terminalLine(text))).toEqual([])
      expect(terminalLine(text)).not.toMatch(/[\n\t]/)
      if (forbiddenIn(text).length === 0 && !/\p{Default_Ignorable_Code_Point}/u.test(text))
        expect(terminalText(text)).toBe(text)
    }),
  )
})

test('a text that comes in pieces is the same wherever it is cut', () => {
  fc.assert(
    fc.property(texts, fc.array(fc.nat(200)), (text, cuts) => {
      const places = [0, ...cuts.filter((at) => at < text.length).toSorted((a, b) => a - b), text.length]
      const show = createTerminalText()
      const pieces = places.slice(1).map((end, index) => show(text.slice(places[index], end)))
      // A newline follows every answer.
      expect([...pieces, show('\n')].join('')).toBe(terminalText(`${text}\n`))
    }),
  )
})

test('JSON keeps its meaning', () => {
  fc.assert(
    fc.property(texts, (text) => {
      expect(JSON.parse(terminalLine(JSON.stringify({ text })))).toEqual({ text })
    }),
  )
})

test('only one file of the command writes to its streams', async () => {
  const folder = new URL('../../src/', import.meta.url)
  const writers: string[] = []
  for (const file of await readdir(folder, { recursive: true })) {
    if (!file.endsWith('.ts')) continue
    const text = await readFile(new URL(file, folder), 'utf8')
    if (/process\.std(?:out|err)\.write|console\.\w+\(/.test(text)) writers.push(file)
  }
  expect(writers.toSorted()).toEqual(['cli/print.ts', 'runtime/log.ts'])
})

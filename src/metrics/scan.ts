import { PoolError } from '../contract/error.ts'

const NEWLINE = 10
const QUOTE = 34
const BACKSLASH = 92

/** A place in the text. */
export interface Scanner {
  readonly text: string
  at: number
  line: number
  lineStart: number
}

/** A label's value: by hand and not by a regular expression, whose stack a value of megabytes would overflow. */
export function readQuoted(scanner: Scanner): string {
  const { text } = scanner
  expectChar(scanner, '"')
  const start = scanner.at
  let escaped = false
  for (; ; scanner.at += 1) {
    const code = text.charCodeAt(scanner.at)
    if (code === QUOTE) break
    if (Number.isNaN(code) || code === NEWLINE) throw fault(scanner, 'a closing "')
    if (code === 0) throw fault(scanner, 'no NUL')
    if (code !== BACKSLASH) continue
    scanner.at += 1
    if (!'\\"n'.includes(text[scanner.at] ?? ' ')) throw fault(scanner, String.raw`\\, \" or \n`)
    escaped = true
  }
  const raw = text.slice(start, scanner.at)
  scanner.at += 1
  return escaped ? raw.replaceAll(/\\(.)/g, (_, char: string) => (char === 'n' ? '\n' : char)) : raw
}

/** What a sticky pattern finds here. */
export function readName(scanner: Scanner, pattern: RegExp, expected: string): string {
  pattern.lastIndex = scanner.at
  const name = pattern.exec(scanner.text)?.[0]
  if (name === undefined) throw fault(scanner, expected)
  scanner.at += name.length
  return name
}

/** What stands between blanks; empty at the end of the line. */
export function readWord(scanner: Scanner): { readonly word: string; readonly start: Scanner } {
  skipBlanks(scanner)
  const start = { ...scanner }
  const { text } = scanner
  let code = text.charCodeAt(scanner.at)
  while (!Number.isNaN(code) && code !== NEWLINE && !isBlank(code)) {
    scanner.at += 1
    code = text.charCodeAt(scanner.at)
  }
  const word = text.slice(start.at, scanner.at)
  skipBlanks(scanner)
  return { word, start }
}

/** Steps over a character that must be here. */
export function expectChar(scanner: Scanner, char: string): void {
  if (scanner.text[scanner.at] !== char) throw fault(scanner, char)
  scanner.at += 1
}

/** Steps over spaces and tabs. */
export function skipBlanks(scanner: Scanner): void {
  while (isBlank(scanner.text.charCodeAt(scanner.at))) scanner.at += 1
}

/** Whether a character is a space or a tab. */
export function isBlank(code: number): boolean {
  return code === 32 || code === 9
}

/** Where the line ends: at its newline, or where the text does. */
export function endOfLine({ text, at }: Scanner): number {
  return lineEnd(text, at)
}

/** Where the line of a place ends: at its newline, or where the text does. */
export function lineEnd(text: string, at: number): number {
  const end = text.indexOf('\n', at)
  return end < 0 ? text.length : end
}

/** Whether a line ends inside quotes, or begins with the rest of such a line. */
export function isOpen(line: string): boolean {
  if (!line.includes('"')) return false
  let quotes = 0
  for (let at = 0; at < line.length; at += 1) {
    if (line[at] === '\\') at += 1
    else if (line[at] === '"') quotes += 1
  }
  return quotes % 2 === 1 && !line.trimStart().startsWith('#')
}

/** What is wrong here: place, what was expected and one character of what was got. */
export function fault({ text, at, line, lineStart }: Scanner, expected: string): PoolError {
  const char = text[at]
  const got =
    char === undefined ? 'the end of the text' : char === '\n' ? 'the end of the line' : JSON.stringify(char)
  return new PoolError(
    'REPLICA_UNAVAILABLE',
    `metrics, line ${line}, column ${at - lineStart + 1}: expected ${expected}, got ${got}`,
  )
}

/**
 * Reads the Prometheus text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats), no more
 * lenient than its reference parser (prometheus/common, expfmt/text_parse.go): one HELP and one TYPE a name, TYPE
 * before the first sample, histograms and summaries in their parts, a newline at the end, so that a body that was cut
 * is distinguished from a whole one. NUL, which ends a text for Prometheus's own lexer, is refused.
 *
 * Every character is looked at a bounded number of times. The text comes from outside: no error repeats more of it
 * than one character.
 */
import { FAMILY_TYPES } from './family.ts'
import type { Family, FamilyType, Label, Sample } from './family.ts'
import { endOfLine, expectChar, fault, isBlank, readName, readQuoted, readWord, skipBlanks } from './scan.ts'
import type { Scanner } from './scan.ts'

const METRIC_NAME = /[a-zA-Z_:][a-zA-Z0-9_:]*/y
const LABEL_NAME = /[a-zA-Z_][a-zA-Z0-9_]*/y
/** What Go's ParseFloat takes, but for hexadecimal numbers. */
const FLOAT = /^[+-]?(?:(?:\d+(?:\.\d*)?|\.\d+)(?:e[+-]?\d+)?|inf(?:inity)?|nan)$/i
const INTEGER = /^-?\d{1,19}$/
/** A bound, because each is compared with those before it. */
const MAX_LABELS = 64
/**
 * Blank ones do not count. A warm replica has some 1,900 (TGI 3.3.7). Four megabytes of short lines would be 400,000, and hold this
 * process up for seconds; so many take a tenth of a second.
 */
const MAX_LINES = 50_000

/** The longest line (characters). TGI's have some 200; each goes into our own answer, with labels of ours. */
const MAX_LINE_CHARS = 16 * 1024

/** A family that is being read. */
interface Draft {
  readonly name: string
  type: FamilyType
  typed: boolean
  help: string | undefined
  readonly samples: Sample[]
}

/**
 * Reads an exposition.
 *
 * @throws {@link PoolError} `REPLICA_UNAVAILABLE` for a line that is none: its number, the column, what was expected.
 */
export function parseExposition(text: string): Family[] {
  return readLines(text, (error) => {
    throw error
  })
}

/** Handles a bad line: throws, or skips it. `types` are those of the families so far. */
type OnFault = (error: Error, line: string, types: ReadonlyMap<string, { readonly type: FamilyType }>) => void

/** Reads an exposition line by line. Always throws for a truncated one. */
export function readLines(text: string, onFault: OnFault): Family[] {
  const drafts = new Map<string, Draft>()
  const scanner: Scanner = { text, at: 0, line: 1, lineStart: 0 }
  let lines = 0
  while (scanner.at < text.length) {
    if (lines > MAX_LINES) throw fault(scanner, `at most ${MAX_LINES} lines`)
    try {
      if (text[scanner.at] !== '\n') {
        lines += 1
        if (endOfLine(scanner) - scanner.at > MAX_LINE_CHARS)
          throw fault(scanner, `at most ${MAX_LINE_CHARS} characters in a line`)
        readLine(scanner, drafts)
      }
    } catch (error) {
      const line = text.slice(scanner.lineStart, endOfLine({ ...scanner, at: scanner.lineStart }))
      const isCut = scanner.lineStart + line.length === text.length
      if (isCut || !(error instanceof Error)) throw error
      onFault(error, line, drafts)
      scanner.at = scanner.lineStart + line.length
    }
    scanner.at += 1
    scanner.line += 1
    scanner.lineStart = scanner.at
  }
  return [...drafts.values()].map(({ name, type, help, samples }) => ({
    name,
    type,
    ...(help === undefined ? {} : { help }),
    samples,
  }))
}

function readLine(scanner: Scanner, drafts: Map<string, Draft>): void {
  const { text } = scanner
  skipBlanks(scanner)
  const char = text[scanner.at]
  if (char === '#') readComment(scanner, drafts)
  else if (char !== '\n') readSample(scanner, drafts)
  if (text[scanner.at] !== '\n') throw fault(scanner, 'a newline')
}

function readComment(scanner: Scanner, drafts: Map<string, Draft>): void {
  const { text } = scanner
  const end = endOfLine(scanner)
  scanner.at += 1
  skipBlanks(scanner)
  const keyword = text.slice(scanner.at, scanner.at + 4)
  const isOurs = (keyword === 'HELP' || keyword === 'TYPE') && isBlank(text.charCodeAt(scanner.at + 4))
  if (!isOurs) {
    scanner.at = end
    return
  }
  scanner.at += 4
  skipBlanks(scanner)
  const draft = draftOf(drafts, readName(scanner, METRIC_NAME, 'a metric name'))
  if (scanner.at < end && !isBlank(text.charCodeAt(scanner.at))) throw fault(scanner, 'a blank')
  skipBlanks(scanner)
  if (keyword === 'HELP') readHelp(scanner, draft, end)
  else readType(scanner, draft, end)
  scanner.at = end
}

function readHelp(scanner: Scanner, draft: Draft, end: number): void {
  if (draft.help !== undefined) throw fault(scanner, 'one HELP a name, here is another')
  const raw = scanner.text.slice(scanner.at, end)
  if (raw.includes('\0')) throw fault({ ...scanner, at: scanner.at + raw.indexOf('\0') }, 'no NUL')
  draft.help = raw.includes('\\')
    ? raw.replaceAll(/\\(.?)/g, (whole: string, char: string) => {
        if (char === 'n') return '\n'
        if (char === '\\') return char
        // As Prometheus itself has it (model/textparse/promparse.go): what is no escape stands for itself.
        return whole
      })
    : raw
}

function readType(scanner: Scanner, draft: Draft, end: number): void {
  const word = scanner.text.slice(scanner.at, Math.min(end, scanner.at + 20)).trimEnd()
  const type = FAMILY_TYPES.find((known) => known === word)
  if (type === undefined) throw fault(scanner, `a type (${FAMILY_TYPES.join(', ')})`)
  if (draft.typed) throw fault(scanner, 'one TYPE a name, here is another')
  if (draft.samples.length > 0) throw fault(scanner, 'TYPE before the first sample of its name')
  draft.type = type
  draft.typed = true
}

function readSample(scanner: Scanner, drafts: Map<string, Draft>): void {
  const start = { ...scanner }
  const name = readName(scanner, METRIC_NAME, 'a metric name')
  skipBlanks(scanner)
  const labels = scanner.text[scanner.at] === '{' ? readLabels(scanner) : []
  const value = readWord(scanner)
  if (!FLOAT.test(value.word)) throw fault(value.start, 'a number')
  const timestamp = readWord(scanner)
  if (timestamp.word !== '' && !INTEGER.test(timestamp.word)) throw fault(timestamp.start, 'a timestamp (ms)')
  const draft = familyOf(drafts, name)
  checkPart(draft, name, labels, start)
  draft.samples.push({
    name,
    labels,
    value: value.word,
    ...(timestamp.word === '' ? {} : { timestamp: timestamp.word }),
  })
}

/** Labels, from one brace to the other; a comma may stand behind the last. */
function readLabels(scanner: Scanner): Label[] {
  const labels: Label[] = []
  const { text } = scanner
  scanner.at += 1
  for (;;) {
    skipBlanks(scanner)
    if (text[scanner.at] === '}') break
    const start = { ...scanner }
    const name = readName(scanner, LABEL_NAME, 'a label name or }')
    if (labels.some(([other]) => other === name)) throw fault(start, 'each label once')
    // It would be the name of the series.
    if (name === '__name__') throw fault(start, 'any label but __name__')
    if (labels.length === MAX_LABELS) throw fault(start, `at most ${MAX_LABELS} labels`)
    skipBlanks(scanner)
    expectChar(scanner, '=')
    skipBlanks(scanner)
    labels.push([name, readQuoted(scanner)])
    skipBlanks(scanner)
    if (text[scanner.at] === '}') break
    if (text[scanner.at] !== ',') throw fault(scanner, ', or }')
    scanner.at += 1
  }
  scanner.at += 1
  return labels
}

/** The family that a sample of this name belongs to. */
function familyOf(drafts: Map<string, Draft>, name: string): Draft {
  const exact = drafts.get(name)
  if (exact !== undefined) return exact
  const [, base = name, suffix] = /^(.+)_(bucket|sum|count)$/.exec(name) ?? []
  const family = suffix === undefined ? undefined : drafts.get(base)
  if (family?.type === 'histogram' || (family?.type === 'summary' && suffix !== 'bucket')) return family
  return draftOf(drafts, name)
}

/** Holds a sample of a histogram or a summary against what its family may have. */
function checkPart(family: Draft, name: string, labels: readonly Label[], start: Scanner): void {
  if (family.type !== 'histogram' && family.type !== 'summary') return
  const part = name.slice(family.name.length)
  if (family.type === 'histogram' && part === '') {
    throw fault(start, '_bucket, _sum or _count, the family is a histogram')
  }
  const needed = { _bucket: 'le', '': 'quantile' }[part]
  if (needed === undefined) return
  const bound = labels.find(([label]) => label === needed)?.[1]
  if (bound === undefined || !FLOAT.test(bound)) throw fault(start, `a label ${needed} that is a number`)
}

function draftOf(drafts: Map<string, Draft>, name: string): Draft {
  const known = drafts.get(name)
  if (known !== undefined) return known
  const draft: Draft = { name, type: 'untyped', typed: false, help: undefined, samples: [] }
  drafts.set(name, draft)
  return draft
}

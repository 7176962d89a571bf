import { createHash } from 'node:crypto'
import { labelSchema } from '../contract/ids.ts'

/**
 * Scopes that a key must have explicitly; every key may do everything else.
 *
 * - `operate`: list a pool's jobs. Anyone who knows a job's id can read and erase the job, so a list of ids is for operators.
 */
const SCOPES = ['operate'] as const

/** A scope of a key. */
export type Scope = (typeof SCOPES)[number]

/** A line of a key file. */
export interface KeyLine {
  /** For logs and limits: the name on the line, or the first 8 hex digits of the key's SHA-256. Several keys may share a name. */
  readonly name: string
  readonly scopes: ReadonlySet<Scope>
  /** The key's SHA-256. */
  readonly digest: Buffer
}

/** The keys of a file, and the first fault in it. */
interface KeyLines {
  readonly keys: readonly KeyLine[]
  /** The line and what was expected there, without any content of the file. */
  readonly fault?: string | undefined
}

const MIN_LENGTH = 16
const KEY = new RegExp(`^[\\x21-\\x7e]{${MIN_LENGTH},}$`)

/**
 * Reads the lines of a key file: `key`, `name key` or `name+operate key`. An invalid line, or one that repeats an earlier key with
 * a different name or scopes, is skipped and reported as a fault.
 */
export function parseKeyLines(text: string): KeyLines {
  const keys = new Map<string, KeyLine>()
  let fault: string | undefined
  for (const [index, line] of text.split('\n').entries()) {
    const trimmed = line.trim()
    if (trimmed === '' || trimmed.startsWith('#')) continue
    const parsed = parseLine(trimmed)
    const wrong = typeof parsed === 'string' ? parsed : add(keys, parsed)
    if (wrong !== undefined) fault ??= `line ${index + 1}: expected ${wrong}`
  }
  return { keys: [...keys.values()], fault }
}

/** The key of a line, or a description of what was expected. */
function parseLine(line: string): KeyLine | string {
  const words = line.split(/\s+/)
  const [key = '', label, ...more] = words.toReversed()
  if (more.length > 0) return 'a key, or a name and a key, got more words'
  if (label === undefined && SCOPES.some((scope) => key.endsWith(`+${scope}`)))
    return 'a key after the name and its scopes'
  if (!KEY.test(key)) return `at least ${MIN_LENGTH} visible ASCII characters`
  const digest = createHash('sha256').update(key).digest()
  if (label === undefined) return { name: digest.toString('hex', 0, 4), scopes: new Set(), digest }
  const [name, ...scopes] = label.split('+')
  if (!labelSchema.safeParse(name).success || name === undefined)
    return 'a name of 1 to 64 of A-Z a-z 0-9 . _ - before the key'
  if (!scopes.every(isScope)) return `no scope but ${SCOPES.join(', ')} after the name, as in name+operate`
  return { name, scopes: new Set(scopes), digest }
}

function isScope(word: string): word is Scope {
  return SCOPES.some((scope) => scope === word)
}

/** Adds a key; returns what was expected if the same key has a different name or scopes. */
function add(keys: Map<string, KeyLine>, key: KeyLine): string | undefined {
  const id = key.digest.toString('hex')
  const known = keys.get(id)
  if (known === undefined) {
    keys.set(id, key)
    return undefined
  }
  const isSame =
    known.name === key.name && [...SCOPES].every((s) => known.scopes.has(s) === key.scopes.has(s))
  return isSame ? undefined : 'another key, got that of a line before it'
}

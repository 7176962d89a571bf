import { createReadStream } from 'node:fs'
import { stat } from 'node:fs/promises'
import { PoolError } from '../contract/error.ts'
import type { JobInput } from '../contract/job.ts'
import { describeFlaw, findJsonFlaw } from '../contract/json-text.ts'
import { kindOf } from '../contract/shown.ts'
import { decodeText, toUtf8 } from '../runtime/read-text.ts'

/** The longest line that is read (bytes): far above what any replica accepts as a prompt. */
const MAX_LINE_BYTES = 64 * 1024 * 1024
const [LF, CR] = [0x0a, 0x0d]
const EXAMPLE = '{"inputs":"a prompt"}'

/**
 * The lines of a file of jobs, as bytes without line endings. A line ends only with LF, CR or CRLF: JSON may contain other
 * characters that some readers treat as line breaks (U+2028, U+2029, U+0085). Yields each line as soon as it is complete; a line
 * longer than the bound is cut to one byte more than the bound.
 *
 * @throws {@link PoolError} `INVALID_PARAMS` before the first line, if the file is not JSON lines
 */
export async function openLines(input: AsyncIterable<Buffer>, what: string): Promise<AsyncIterable<Buffer>> {
  const lines = splitLines(refuseArray(toUtf8(input, what), what))
  const head: Buffer[] = []
  for (;;) {
    const next = await lines.next()
    if (next.done === true) break
    head.push(next.value)
    if (isBlank(next.value)) continue
    refuseKind(next.value, head.length, what)
    break
  }
  return (async function* () {
    yield* head
    yield* lines
  })()
}

/** Whether a line holds only white space. */
export function isBlank(line: Buffer): boolean {
  return line.length < 1000 && line.toString('utf8').trim() === ''
}

/** Like {@link openLines}, without checking the kind of file. */
export async function* splitLines(input: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let parts: Buffer[] = []
  let size = 0
  let afterCr = false
  const add = (part: Buffer) => {
    const room = MAX_LINE_BYTES + 1 - size
    if (room <= 0 || part.length === 0) return
    parts.push(part.subarray(0, room))
    size += Math.min(room, part.length)
  }
  const take = (): Buffer => {
    const line = Buffer.concat(parts)
    parts = []
    size = 0
    return line
  }
  for await (const chunk of input) {
    let from = afterCr && chunk[0] === LF ? 1 : 0
    if (chunk.length > 0) afterCr = chunk.at(-1) === CR
    let [lf, cr] = [chunk.indexOf(LF, from), chunk.indexOf(CR, from)]
    while (lf >= 0 || cr >= 0) {
      const end = lf < 0 || (cr >= 0 && cr < lf) ? cr : lf
      add(chunk.subarray(from, end))
      yield take()
      from = end + (end === cr && lf === end + 1 ? 2 : 1)
      if (lf >= 0 && lf < from) lf = chunk.indexOf(LF, from)
      if (cr >= 0 && cr < from) cr = chunk.indexOf(CR, from)
    }
    add(chunk.subarray(from))
  }
  if (size > 0) yield take()
}

/** Refuses a JSON array by its first character, because it may be a single line of any length. */
async function* refuseArray(input: AsyncIterable<Buffer>, what: string): AsyncGenerator<Buffer> {
  let begun = false
  for await (const chunk of input) {
    const first: string | undefined = begun
      ? undefined
      : chunk
          .toString('utf8')
          .replace(/^\uFEFF/, '')
          .trimStart()[0]
    if (first === '[') {
      throw invalid(
        `${what}: expected one JSON object per line, got a JSON array. Write lines: jq -c '.[]' FILE, or in pandas to_json(orient='records', lines=True)`,
      )
    }
    begun ||= first !== undefined
    yield chunk
  }
}

/** Recognizes by its first line a file in which no line can be valid; other bad lines are refused one by one. */
function refuseKind(line: Buffer, number: number, what: string): void {
  const text = line.subarray(0, 1000).toString('utf8').trim()
  if (text === '{') {
    throw invalid(
      `${what}: line ${number}: expected a whole JSON object on each line, got one that spans several lines. Put each on one line: jq -c . FILE`,
    )
  }
  if (!/^[\uFEFF\s]*\{/.test(text) && /[,;\t]/.test(text) && !text.includes('{')) {
    throw invalid(
      `${what}: line ${number}: expected a JSON object such as ${EXAMPLE}, got what looks like a table (CSV) or plain text. Write one JSON object per line`,
    )
  }
}

/**
 * Reads one line as JSON.
 *
 * @throws {@link PoolError} `INVALID_PARAMS` that gives the position of the error, never the content
 */
export function parseJsonLine(line: Buffer): unknown {
  if (line.length > MAX_LINE_BYTES) {
    throw invalid(`expected a line of at most ${MAX_LINE_BYTES} bytes, got a longer one`)
  }
  const text = decodeText(line, 'the line')
  const flaw = findJsonFlaw(text)
  if (flaw === undefined) return JSON.parse(text) as unknown
  throw invalid(
    flaw.kind === 'not_json' ? describeFault(text, flaw.inside ?? flaw.at) : describeFlaw(flaw, text.length),
  )
}

/** A line's job; `jobId` is its `job_id`. */
export interface LineJob {
  readonly job: JobInput
  readonly jobId: string | undefined
}

/**
 * Reads one line as a job. The body is validated when it is enqueued.
 *
 * @throws {@link PoolError} `INVALID_PARAMS`
 */
export function parseJobLine(line: Buffer): LineJob {
  const value = parseJsonLine(line)
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalid(`expected a JSON object, got ${kindOf(value)}`)
  }
  const { job_id: jobId, ...job } = value as Record<string, unknown>
  if (jobId !== undefined && typeof jobId !== 'string') {
    throw invalid(`job_id: expected a string, got ${kindOf(jobId)}`)
  }
  // Validated by the enqueue.
  return { job: job as unknown as JobInput, jobId }
}

/** Whether an error concerns only one line, so that the others can continue. */
export function isOfLine(error: unknown): error is PoolError {
  return error instanceof PoolError && OF_LINE.has(error.kind)
}

const OF_LINE: ReadonlySet<string> = new Set(['INVALID_PARAMS', 'CONFIG', 'ID_CONFLICT'])

/** The bytes of a file or, for `-`, of standard input; ends early when the signal is aborted. */
export async function* openInput(file: string, signal: AbortSignal): AsyncGenerator<Buffer> {
  const input = file === '-' ? process.stdin : createReadStream(file)
  const stop = () => input.destroy()
  signal.addEventListener('abort', stop, { once: true })
  try {
    yield* input as AsyncIterable<Buffer>
  } catch (error) {
    if (!signal.aborted) throw error
  } finally {
    signal.removeEventListener('abort', stop)
  }
}

/** A file of jobs, before it is read. */
interface InputStats {
  readonly size: number
  /** Whether it is a regular file, which can be read twice. */
  isFile(): boolean
}

const WHY: Readonly<Record<string, string>> = { ENOENT: 'no such file', EACCES: 'permission denied' }

/** Stats a file of jobs. @throws {@link PoolError} `CONFIG` if it cannot be read; `what` names it in the message. */
export async function statInput(file: string, what: string): Promise<InputStats> {
  const found = await stat(file).catch((cause: unknown) => {
    const { code = 'unknown error' } = cause as NodeJS.ErrnoException
    throw new PoolError('CONFIG', `${what}: cannot read ${file}: ${WHY[code] ?? code}`, { cause })
  })
  if (found.isDirectory()) throw new PoolError('CONFIG', `${what}: expected a file, got the folder ${file}`)
  return found
}

/** What other languages write in place of JSON, and how to fix it. */
const FOREIGN: readonly (readonly [RegExp, string])[] = [
  [/^[-+]?(?:nan|inf(?:inity)?)\b/i, 'NaN or Infinity, which JSON does not have. Leave the field out'],
  [/^(?:None|True|False|undefined)\b/, 'a word that JSON does not have; use null, true or false'],
  [/^'/, 'a single quote. JSON strings use double quotes'],
  [/^\0/, 'a NUL byte'],
  [/^[},\]]/, 'an extra comma or bracket'],
  // oxlint-disable-next-line no-control-regex -- it is what is looked for
  [/^[\u0001-\u001f]/, 'a raw control character, e.g. a tab. Escape it: \\t'],
  [/^(?:\/\/|\/\*|#)/, 'a comment, which JSON does not have'],
]

function describeFault(text: string, at: number): string {
  if (!/^\s*[{["]/.test(text) && !text.includes('{')) {
    return `expected a JSON object such as ${EXAMPLE}, got something that is not JSON`
  }
  if (at >= text.length) return 'expected a whole JSON object on the line, got one that ends too early'
  const rest = text.slice(at, at + 20)
  const foreign = FOREIGN.find(([pattern]) => pattern.test(rest))
  if (foreign !== undefined) return `expected JSON, got ${foreign[1]} (character ${at})`
  if (findJsonFlaw(text.slice(0, at)) === undefined)
    return `expected one JSON object on the line, got more (from character ${at})`
  return `expected a JSON object, got something that is not JSON from character ${at} on`
}

function invalid(message: string): PoolError {
  return new PoolError('INVALID_PARAMS', message)
}

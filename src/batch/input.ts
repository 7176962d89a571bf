import { createHash } from 'node:crypto'
import { PoolError } from '../contract/error.ts'
import { isBlank, openInput, openLines } from './job-lines.ts'

/** A fingerprint of a file of jobs, in a few bytes per hundred lines. */
export interface InputSurvey {
  readonly lines: number
  /** Lines that are not blank. */
  readonly jobs: number
  /** A digest after each hundred lines, of all lines so far. */
  readonly blocks: readonly string[]
  /** The same after the last line. */
  readonly last: string
}

/** One line of the input. */
export interface InputLine {
  /** From 1. */
  readonly line: number
  readonly bytes: Buffer
}

/** How to read the input. */
export interface InputOptions {
  readonly file: string
  readonly signal: AbortSignal
  /** The file's fingerprint in an earlier run; lines may have been appended since. */
  readonly before?: InputSurvey | undefined
}

/** Lines per digest. */
const BLOCK = 100

/**
 * Reads the non-blank lines of a file of jobs, one after the other.
 *
 * @returns the file's fingerprint.
 * @throws {@link PoolError} `INVALID_PARAMS` if the file is not JSON lines, or its lines differ from those of `before`.
 */
export async function* readInput({
  file,
  signal,
  before,
}: InputOptions): AsyncGenerator<InputLine, InputSurvey, undefined> {
  const hash = createHash('sha256')
  const blocks: string[] = []
  let [line, jobs] = [0, 0]
  const digest = () => hash.copy().digest('hex').slice(0, 16)
  const compare = (was: string | undefined, is: string) => {
    if (was === undefined || was === is) return
    const from = (Math.ceil(line / BLOCK) - 1) * BLOCK + 1
    throw changed(file, from === line ? `line ${line} is` : `one of lines ${from} to ${line} is`)
  }
  for await (const bytes of await openLines(openInput(file, signal), file)) {
    if (signal.aborted) break
    line += 1
    hash.update(`${bytes.length} `).update(bytes)
    if (line % BLOCK === 0) {
      const is = digest()
      blocks.push(is)
      compare(before?.blocks[line / BLOCK - 1], is)
    }
    if (line === before?.lines) compare(before.last, digest())
    if (isBlank(bytes)) continue
    jobs += 1
    yield { line, bytes }
  }
  signal.throwIfAborted()
  if (before !== undefined && line < before.lines)
    throw changed(file, `it has ${line} lines, and had ${before.lines}, so some are`)
  return { lines: line, jobs, blocks, last: digest() }
}

/** Reads a whole file for its fingerprint. @throws as {@link readInput}. */
export async function surveyInput(options: InputOptions): Promise<InputSurvey> {
  const lines = readInput(options)
  for (;;) {
    const next = await lines.next()
    if (next.done === true) return next.value
  }
}

function changed(file: string, which: string): PoolError {
  return new PoolError(
    'INVALID_PARAMS',
    `${file}: ${which} not what the run started with. Restore the file and add corrected lines at its end, or give another --out`,
  )
}

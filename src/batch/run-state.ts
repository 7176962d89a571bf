import { createHash, randomUUID } from 'node:crypto'
import { open, readFile, rename, rm } from 'node:fs/promises'
import { z } from 'zod'
import { PoolError } from '../contract/error.ts'
import type { InputSurvey } from './input.ts'
import { notWritten, syncFolder } from './out-file.ts'

const surveySchema = z.object({
  lines: z.number().int().nonnegative(),
  jobs: z.number().int().nonnegative(),
  blocks: z.array(z.string()),
  last: z.string(),
})

const stateSchema = z.object({
  v: z.literal(1),
  run_id: z.string().regex(/^[0-9a-f]{32}$/),
  pool: z.string(),
  input: surveySchema,
  retries: z.array(z.string().regex(/^(?:\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*)?$/)),
  settled_bytes: z.number().int().nonnegative(),
})

/** What a run must remember in addition to its file of answers. */
export interface RunState {
  readonly v: 1
  /** Random, so that the ids of its jobs cannot be guessed. */
  readonly run_id: string
  readonly pool: string
  /** The fingerprint of the input when it was last read. */
  readonly input: InputSurvey
  /** For each `--retry-failed`, the lines that it reran, e.g. `3,7-12`. */
  readonly retries: readonly string[]
  /** Jobs whose records end at or before this offset in the file of answers (bytes) were erased from Redis. */
  readonly settled_bytes: number
}

/** The path of the state that belongs to a file of answers. */
export function statePath(out: string): string {
  return `${out}.run`
}

/** The state of a new run. */
export function newRun(pool: string, input: InputSurvey): RunState {
  return { v: 1, run_id: randomUUID().replaceAll('-', ''), pool, input, retries: [], settled_bytes: 0 }
}

/** Reads the state of the run; undefined if there is none. @throws {@link PoolError} `CONFIG` if the file is not a state. */
export async function readRunState(out: string): Promise<RunState | undefined> {
  const path = statePath(out)
  const text = await readFile(path, 'utf8').catch((cause: unknown) => {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw new PoolError('CONFIG', `cannot read ${path}: ${(cause as Error).message}`, { cause })
  })
  if (text === undefined) return undefined
  try {
    return stateSchema.parse(JSON.parse(text))
  } catch (cause) {
    throw new PoolError(
      'CONFIG',
      `${path}: expected the state of a run, got something else. Give another --out`,
      {
        cause,
      },
    )
  }
}

/** Replaces the state in one step that a crash cannot divide. @throws {@link PoolError} `INTERNAL` if it cannot be written. */
export async function writeRunState(out: string, state: RunState): Promise<void> {
  const path = statePath(out)
  const next = `${path}.next`
  try {
    const file = await open(next, 'w')
    try {
      await file.writeFile(`${JSON.stringify(state)}\n`)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(next, path)
    await syncFolder(path)
  } catch (error) {
    await rm(next, { force: true }).catch(() => undefined)
    throw notWritten(path, error)
  }
}

/** Lines, ascending, as ranges: `3,7-12`. */
export function formatRanges(lines: Iterable<number>): string {
  const ranges: [from: number, to: number][] = []
  for (const line of lines) {
    const last = ranges.at(-1)
    if (last?.[1] === line - 1) last[1] = line
    else ranges.push([line, line])
  }
  return ranges.map(([from, to]) => (from === to ? String(from) : `${from}-${to}`)).join(',')
}

/** Which try at a line this is, from 0. */
export function tryCounts(retries: readonly string[], lines: number): Uint16Array {
  const counts = new Uint16Array(retries.length === 0 ? 0 : lines + 1)
  for (const range of retries.flatMap((text) => (text === '' ? [] : text.split(',')))) {
    const [from = 0, to = from] = range.split('-').map(Number)
    for (let line = from; line <= to && line < counts.length; line += 1)
      counts[line] = (counts[line] ?? 0) + 1
  }
  return counts
}

/** The longest job id (contract/ids.ts). */
const MAX_ID = 128

/**
 * The id of a line's job: its own `job_id`, or one derived so that the same run gives the same line the same id. Each retry has a
 * different id, because Redis may still have the previous job.
 */
export function idOfLine(
  runId: string,
  { line, bytes, own, tries }: { line: number; bytes: Buffer; own: string | undefined; tries: number },
): string {
  const suffix = tries === 0 ? '' : `-r${tries}`
  const base = own ?? `${runId}-${line}-${shortDigest(bytes)}`
  if (base.length + suffix.length <= MAX_ID) return base + suffix
  return `${base.slice(0, MAX_ID - 20)}-${shortDigest(base)}${suffix}`
}

/** The name that {@link idOfLine} made an id of, unless it had to shorten it. */
export function nameOfId(jobId: string, tries: number): string {
  const suffix = `-r${tries}`
  return tries > 0 && jobId.endsWith(suffix) ? jobId.slice(0, -suffix.length) : jobId
}

/** Whether {@link idOfLine} made an id for a line that names none. */
export function isOfRun(runId: string, jobId: string): boolean {
  return jobId.startsWith(`${runId}-`)
}

function shortDigest(data: Buffer | string): string {
  return createHash('sha256').update(data).digest('hex').slice(0, 8)
}

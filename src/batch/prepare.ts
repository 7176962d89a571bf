import { PoolError } from '../contract/error.ts'
import { IdSet } from './id-set.ts'
import { surveyInput } from './input.ts'
import { LINE, LineStates } from './line-set.ts'
import type { OutFile } from './out-file.ts'
import {
  formatRanges,
  isOfRun,
  nameOfId,
  newRun,
  readRunState,
  statePath,
  tryCounts,
  writeRunState,
} from './run-state.ts'
import type { RunState } from './run-state.ts'

/** The state of a run before its first job. */
export interface Prepared {
  readonly state: RunState
  readonly lines: LineStates
  /** Ids that lines name, and those of their jobs, as far as they are on record. */
  readonly named: IdSet
  /** The number of records by error code; answers under ''. */
  readonly counts: Map<string, number>
  /** The most recently recorded jobs: Redis may still have them. */
  readonly unsettled: readonly string[]
}

/** What to prepare. */
export interface PrepareOptions {
  readonly pool: string
  readonly input: string
  readonly out: string
  readonly file: OutFile
  readonly retryFailed: boolean
  readonly signal: AbortSignal
}

/** More than the number of jobs that can be recorded and not yet erased (batch-run.ts). */
const MOST_UNSETTLED = 4096

/**
 * Reads the file of answers, its state and the input. Writes the state and, with `retryFailed`, removes the failed records.
 *
 * @throws {@link PoolError} `CONFIG` or `INVALID_PARAMS` if they do not belong together.
 */
export async function prepareRun(options: PrepareOptions): Promise<Prepared> {
  const { pool, input, out, file, signal } = options
  const before = await readRunState(file.path)
  if (before === undefined && !file.isEmpty) {
    throw new PoolError(
      'CONFIG',
      `--out: ${out} exists, and ${statePath(file.path)}, the state of its run, does not. Give another --out, or remove the file to begin anew`,
    )
  }
  if (before !== undefined && before.pool !== pool) {
    throw new PoolError(
      'CONFIG',
      `--out: the run of ${out} belongs to pool ${before.pool}, got ${pool}. Give another --out`,
    )
  }
  const survey = await surveyInput({ file: input, signal, before: before?.input })
  let state: RunState = before === undefined ? newRun(pool, survey) : { ...before, input: survey }
  const lines = new LineStates()
  const named = new IdSet()
  const counts = new Map<string, number>()
  const unsettled: string[] = []
  const tries = tryCounts(state.retries, survey.lines)
  await file.scan(({ jobId, line, code }, endsAt) => {
    if (lines.get(line) !== LINE.open || line > survey.lines) {
      const what =
        line > survey.lines
          ? `a record of line ${line}, which ${input} does not have`
          : `two records of line ${line}`
      throw new PoolError(
        'CONFIG',
        `--out: ${out}: expected one record for each line, got ${what}. Give another --out`,
      )
    }
    lines.set(line, code === undefined ? LINE.answered : LINE.failed)
    counts.set(code ?? '', (counts.get(code ?? '') ?? 0) + 1)
    const isRetried = options.retryFailed && code !== undefined
    if (!isRetried && !isOfRun(state.run_id, jobId)) {
      named.add(jobId)
      named.add(nameOfId(jobId, tries[line] ?? 0))
    }
    if (endsAt <= state.settled_bytes) return
    unsettled.push(jobId)
    if (unsettled.length > MOST_UNSETTLED) unsettled.shift()
  })
  // Records may have been taken out since.
  state = { ...state, settled_bytes: Math.min(state.settled_bytes, file.size) }
  const again = options.retryFailed ? formatRanges(lines.in(LINE.failed)) : ''
  if (again !== '') {
    // Write the state first: a line whose record was removed must not reuse the id of its last try. `settled_bytes` is an offset in the
    // file that is being replaced, so reset it.
    state = { ...state, retries: [...state.retries, again], settled_bytes: 0 }
    await writeRunState(file.path, state)
    await file.rewrite(({ code }) => code === undefined)
    for (const line of lines.in(LINE.failed)) lines.set(line, LINE.open)
    const answered = counts.get('') ?? 0
    counts.clear()
    if (answered > 0) counts.set('', answered)
  } else {
    await writeRunState(file.path, state)
  }
  return { state, lines, named, counts, unsettled }
}

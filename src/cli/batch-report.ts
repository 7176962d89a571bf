import { SingleBar } from 'cli-progress'
import type { PoolError } from '../contract/error.ts'
import type { BatchProgress, BatchReport } from '../batch/batch-options.ts'
import { err, errLine, outLine } from './print.ts'
import { formatDuration } from './format-duration.ts'

/** How often progress is printed if stderr is not a terminal (ms). */
const EVERY_MS = 10_000

/** How the command ended. */
type BatchEnd = 'done' | 'interrupted' | 'failed'

/** Prints the progress of a run: a bar on a terminal, a line every ten seconds elsewhere. */
export interface BatchPrinter extends BatchReport {
  /** Prints the summary, if the run had started. */
  stop(end: BatchEnd): void
}

/** How to print. */
export interface BatchPrinterOptions {
  readonly json: boolean
  /** The file of answers. */
  readonly out: string
}

/** Starts a printer, and the clock of its summary. */
export function startBatchReport({ json, out }: BatchPrinterOptions): BatchPrinter {
  const from = performance.now()
  let progress: BatchProgress | undefined
  let before = 0
  let bar: SingleBar | undefined
  let timer: NodeJS.Timeout | undefined

  function say(text: string, value: object): void {
    // The bar occupies this line of the terminal.
    if (bar !== undefined) err('\n')
    errLine(json ? JSON.stringify(value) : `tgi-pool: ${text}`)
  }

  function update(now: BatchProgress): void {
    bar?.update(done(now), { failed: now.failed, rate: formatRate(now.perSecond), left: formatLeft(now) })
  }

  return {
    onStart(now) {
      progress = now
      before = done(now)
      if (before > 0)
        say(`resuming: ${before} of ${now.total} lines are done`, {
          resuming: { done: before, total: now.total },
        })
      if (process.stderr.isTTY && !json) {
        bar = new SingleBar({
          format: '{bar} {value}/{total} | {failed} failed | {rate} | {left}',
          stream: process.stderr,
          hideCursor: true,
          clearOnComplete: false,
          fps: 10,
        })
        bar.start(now.total, before, { failed: now.failed, rate: formatRate(0), left: '' })
        timer = setInterval(() => update(now), 500)
      } else {
        timer = setInterval(() => {
          const { answered, failed, total, perSecond } = now
          const line = `${done(now)} of ${total} lines done, ${failed} failed, ${formatRate(perSecond)}, ${formatLeft(now)}`
          say(line, { progress: { answered, failed, total, per_second: round(perSecond) } })
        }, EVERY_MS)
      }
    },
    onFull: (error) => say(`${error.message}; waiting for room`, waiting(error)),
    onAway: (error) => say(`${error.message}; waiting`, waiting(error)),
    onBack: () => say('Redis is reachable again', { waiting: null }),
    onKept: (error) =>
      say(`${error.message}; the events of finished jobs stay in Redis until they expire`, {
        warning: { code: error.kind, message: error.message },
      }),
    stop(end) {
      clearInterval(timer)
      if (progress === undefined) return
      update(progress)
      bar?.stop()
      bar = undefined
      const seconds = Math.round(performance.now() - from) / 1000
      const { total, answered, failed, codes, left } = progress
      if (json) {
        const summary = {
          total,
          answered,
          failed,
          codes: Object.fromEntries(codes),
          left,
          seconds,
          interrupted: end === 'interrupted',
        }
        outLine(JSON.stringify({ summary }))
        return
      }
      const each = [...codes].map(([code, count]) => `${count} ${code}`).join(', ')
      const all = `${failed} failed${each === '' ? '' : ` (${each})`}`
      const last = left === 0 ? '' : `, ${left} left`
      errLine(`tgi-pool: ${total} lines: ${answered} answered, ${all}${last} in ${seconds.toFixed(1)} s`)
      if (end === 'interrupted' && left > 0)
        errLine(
          'tgi-pool: interrupted; enqueued jobs keep running. Run the same command again to collect them and run the rest',
        )
      if (end === 'done' && failed > 0) errLine(`tgi-pool: the errors are in ${out}; ${nextStep(codes)}`)
    },
  }
}

/** What to do about lines with an error: a refused line is refused again, until it is written differently. */
function nextStep(codes: ReadonlyMap<string, number>): string {
  const retry = '--retry-failed runs those lines again'
  const correct = 'add them, corrected, at the end of the file of jobs, and run the command again'
  if (!codes.has('INVALID_PARAMS')) return retry
  return codes.size === 1 ? `refused lines fail again: ${correct}` : `${retry}; of INVALID_PARAMS, ${correct}`
}

function done({ answered, failed }: BatchProgress): number {
  return answered + failed
}

function waiting({ kind, message }: PoolError): object {
  return { waiting: { code: kind, message } }
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}

function formatRate(perSecond: number): string {
  return `${perSecond.toFixed(1)}/s`
}

/** An estimate of the time that is left. */
function formatLeft({ left, perSecond }: BatchProgress): string {
  if (left === 0) return 'done'
  if (perSecond < 0.001) return 'time left unknown'
  return `about ${formatDuration((left / perSecond) * 1000)} left`
}

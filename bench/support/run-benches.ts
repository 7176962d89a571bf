import { onEndSignals } from '../../src/runtime/signals.ts'
import { takeDownLabs } from './lab.ts'
import { reportOf } from './report.ts'
import type { Bench, BenchReading, BenchReport, BenchSettings } from './report.ts'

/** Runs benches one after another, each `repeat` times; `onReport` is told of each when it is done. */
export async function runBenches(
  benches: readonly Bench[],
  settings: BenchSettings,
  repeat = 1,
  onReport: (report: BenchReport) => void = () => undefined,
): Promise<BenchReport[]> {
  const reports: BenchReport[] = []
  for (const bench of benches) {
    const readings: BenchReading[] = []
    for (let run = 0; run < repeat; run += 1) readings.push(await bench.run(settings))
    const report = reportOf(bench, readings)
    reports.push(report)
    settings.progress('')
    onReport(report)
  }
  return reports
}

/** Tells people at a terminal what is going on, in one line that is written over. */
export function showProgress(what: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001B[K${what}`)
}

/** Does work that builds labs; the exit status: 0, 1 for a fault, 130 when interrupted, with no lab left standing. */
export async function exitStatusOf(work: () => Promise<void>): Promise<number> {
  // What runs breaks when its lab is taken down; that is not worth telling.
  let leaving = false
  const leave = () => {
    leaving = true
    void takeDownLabs().then(() => process.exit(130))
  }
  const stopListening = onEndSignals({ onFirst: leave, onSecond: () => process.exit(130) })
  try {
    await work()
    return 0
  } catch (error) {
    if (leaving) return 130
    process.stderr.write(
      `bench: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`,
    )
    return 1
  } finally {
    stopListening()
  }
}

/**
 * `npm run chaos -- [--minutes M] [--seed S] [--jobs N] [--workers W] [--log FILE]`
 *
 * Runs a pool of real processes under faults of every kind we can cause, lets it come to rest, reads every stream and
 * the simulators' counters, and says whether the invariants held (src/README.md). What it draws hangs on the seed
 * alone; what a fault meets hangs on the machine's timing, too.
 *
 * Progress on stderr; on stdout a table, the violations and one line of verdict. Exit 0 when all held, 1 when not, 2 on
 * bad usage, 130 when interrupted; then nothing is left running.
 */
import { onEndSignals } from '../../src/runtime/signals.ts'
import { USAGE, parseOptions } from './options.ts'
import type { ChaosOptions } from './options.ts'
import { runChaos } from './run.ts'
import { formatTable, formatVerdict, formatViolations } from './verdict.ts'

function say(line: string): void {
  process.stderr.write(`chaos: ${line}\n`)
}

async function main(): Promise<number> {
  let options: ChaosOptions | 'help'
  try {
    options = parseOptions(process.argv.slice(2))
  } catch (error) {
    process.stderr.write(`chaos: ${error instanceof Error ? error.message : String(error)}\n${USAGE}`)
    return 2
  }
  if (options === 'help') {
    process.stdout.write(USAGE)
    return 0
  }
  const interrupt = new AbortController()
  const end = () => interrupt.abort(new Error('interrupted'))
  const stopListening = onEndSignals({ onFirst: end, onSecond: () => undefined })
  say(`seed ${options.seed}, ${options.jobs} jobs in ${options.minutes} min, ${options.workers} workers`)
  try {
    const outcome = await runChaos(options, say, interrupt.signal)
    process.stdout.write(
      `${formatTable(outcome)}\n${formatViolations(outcome.violations)}${formatVerdict(outcome)}\n`,
    )
    return outcome.violations.length === 0 ? 0 : 1
  } catch (error) {
    if (interrupt.signal.aborted) {
      say('interrupted; nothing is left running')
      return 130
    }
    say(error instanceof Error ? (error.stack ?? error.message) : String(error))
    return 1
  } finally {
    stopListening()
  }
}

process.exitCode = await main()

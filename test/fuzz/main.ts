/**
 * `npm run fuzz -- [--seconds N] [--seed S] [--only NAME[,NAME…]] [--shot N]`
 *
 * Sends random requests to a gateway and puts random jobs into Redis for a worker: real processes, with the memory limits and heap
 * flags of compose.yaml. Bodies are as large as the gateway reads. After each, it checks:
 *
 * - both processes run, neither took more memory than its limit, and none had its event loop blocked for more than 100 ms by what
 *   came on one connection or by one job;
 * - every answer is HTTP, an error has the envelope, and no status is 500 or above;
 * - every job that was accepted or put in ends once, and good jobs beside it end well;
 * - no log and no error has a prompt or a secret.
 *
 * Then it sends the worst of them 50 times in a row: memory must be within 20 % of what it was before.
 *
 * Blocks are measured in time that the main thread ran. They count only if they come again when the request is sent alone, and how
 * slow the machine is at that moment is taken out, so a slow or busy machine is no violation. Linux: memory is read from /proc.
 *
 * Progress on stderr; on stdout a table, the violations and a verdict. Exit 0 when all held, 1 when not, 2 on bad usage, 130 when
 * interrupted.
 */
import { onEndSignals } from '../../src/runtime/signals.ts'
import { SYNOPSIS, USAGE, parseOptions } from './options.ts'
import type { FuzzOptions } from './options.ts'
import { runFuzz } from './run.ts'
import { formatViolation } from './violation.ts'

function say(line: string): void {
  process.stderr.write(`fuzz: ${line}\n`)
}

async function main(): Promise<number> {
  let options: FuzzOptions | 'help'
  try {
    options = parseOptions(process.argv.slice(2))
  } catch (error) {
    process.stderr.write(`fuzz: ${error instanceof Error ? error.message : String(error)}\n${SYNOPSIS}\n`)
    return 2
  }
  if (options === 'help') {
    process.stdout.write(USAGE)
    return 0
  }
  const interrupt = new AbortController()
  const end = () => interrupt.abort(new Error('interrupted'))
  const stopListening = onEndSignals({ onFirst: end, onSecond: () => undefined })
  say(`seed ${options.seed}, ${options.seconds} s, ${options.only.length} generators`)
  try {
    const { seed, shots, goodJobs, series, worst, violations } = await runFuzz(options, say, interrupt.signal)
    const shown = violations.map((violation) => formatViolation(seed, violation)).join('')
    const verdict = violations.length === 0 ? 'OK' : 'FAILED'
    process.stdout.write(
      `${worst.table()}${shown}fuzz: ${verdict} seed=${seed} shots=${shots} series=${series} good_jobs=${goodJobs} violations=${violations.length}\n`,
    )
    return violations.length === 0 ? 0 : 1
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

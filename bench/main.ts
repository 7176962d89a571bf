/**
 * `npm run bench -- [names…] [--json] [--quick] [--repeat N] [--seconds S]`
 *
 * Runs the benches one after another and prints what they found: a table, or with `--json` one document on stdout
 * and nothing else. Exit 0 whether or not the bars are met, 1 on a fault, 2 on bad usage, 130 when interrupted.
 */
import { parseArgs } from 'node:util'
import { BENCHES } from './benches.ts'
import { describeMachine } from './support/machine.ts'
import type { Bench, BenchDocument } from './support/report.ts'
import { exitStatusOf, runBenches, showProgress } from './support/run-benches.ts'
import { machineLine, reportText } from './support/table.ts'

const USAGE = `usage: npm run bench -- [${BENCHES.map(({ name }) => name).join(' ')}] [--json] [--quick] [--repeat N] [--seconds S]
  --json       one JSON document on stdout
  --quick      as little as shows that everything works; the figures mean nothing
  --repeat N   run each bench N times; every figure is the median [1]
  --seconds S  how long memory keeps its load up [60]
`

interface Wishes {
  readonly benches: readonly Bench[]
  readonly json: boolean
  readonly quick: boolean
  readonly repeat: number
  readonly seconds: number | undefined
}

/** What the command line asks for; throws a sentence when it is none of ours. */
function parseWishes(args: string[]): Wishes | 'help' {
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      json: { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
      repeat: { type: 'string', default: '1' },
      seconds: { type: 'string' },
    },
  })
  if (values.help) return 'help'
  const unknown = positionals.find((name) => BENCHES.every((bench) => bench.name !== name))
  if (unknown !== undefined) throw new Error(`no bench ${JSON.stringify(unknown)}`)
  return {
    benches: positionals.length === 0 ? BENCHES : BENCHES.filter(({ name }) => positionals.includes(name)),
    json: values.json,
    quick: values.quick,
    repeat: positiveInteger('--repeat', values.repeat),
    seconds: values.seconds === undefined ? undefined : positiveInteger('--seconds', values.seconds),
  }
}

function positiveInteger(flag: string, text: string): number {
  const value = Number(text)
  if (Number.isSafeInteger(value) && value > 0) return value
  throw new Error(`${flag}: expected an integer above 0, got ${JSON.stringify(text)}`)
}

async function runAll(wishes: Wishes): Promise<void> {
  const machine = describeMachine()
  const settings = { quick: wishes.quick, seconds: wishes.seconds, progress: showProgress }
  if (!wishes.json) process.stdout.write(`${machineLine(machine)}\n`)
  const benches = await runBenches(wishes.benches, settings, wishes.repeat, (report) => {
    if (!wishes.json) process.stdout.write(`${reportText(report)}\n`)
  })
  const document: BenchDocument = { machine, benches }
  if (wishes.json) process.stdout.write(`${JSON.stringify(document, undefined, 2)}\n`)
}

async function main(): Promise<number> {
  let wishes: Wishes | 'help'
  try {
    wishes = parseWishes(process.argv.slice(2))
  } catch (error) {
    process.stderr.write(`bench: ${error instanceof Error ? error.message : String(error)}\n${USAGE}`)
    return 2
  }
  if (wishes === 'help') {
    process.stdout.write(USAGE)
    return 0
  }
  const asked = wishes
  return exitStatusOf(() => runAll(asked))
}

process.exitCode = await main()

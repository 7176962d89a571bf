/**
 * `npm run bench:report -- [--only NAMES | --from FILE] [--into DIR] [--quick]`
 *
 * Runs all benches and writes what they found: `results.json`, the page `README.md` and its `plots/`. With `--from`, nothing
 * is run and the page is made again from those results; with `--only`, some are run again and the others stay. Exit 0 whether or not the bars are met, 1 on a fault, 2 on bad
 * usage, 130 when interrupted.
 */
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { BENCHES } from './benches.ts'
import { methodOf } from './report/method.ts'
import { renderPage } from './report/page.ts'
import type { Section } from './report/page.ts'
import { plotOf } from './report/plots.ts'
import { describeMachine } from './support/machine.ts'
import type { Bench, BenchDocument, BenchReport } from './support/report.ts'
import { exitStatusOf, runBenches, showProgress } from './support/run-benches.ts'

const USAGE = `usage: npm run bench:report -- [--only NAMES | --from FILE] [--into DIR] [--quick]
  --only NAMES run these again, of ${BENCHES.map(({ name }) => name).join(',')}; the others keep their results
  --from FILE  make the page from these results; nothing is run
  --into DIR   where to write [bench]
  --quick      as little as shows that everything works; the figures mean nothing; with --into only
`

/** How long `memory` keeps its load up: less than it would by itself, to keep the whole run near ten minutes. */
const MEMORY_SECONDS = 30

interface Wishes {
  readonly from: string | undefined
  /** Undefined: all of them. */
  readonly only: readonly string[] | undefined
  readonly into: string
  readonly quick: boolean
}

function parseWishes(args: string[]): Wishes | 'help' {
  const { values } = parseArgs({
    args,
    options: {
      from: { type: 'string' },
      only: { type: 'string' },
      into: { type: 'string' },
      quick: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return 'help'
  const { from, into, quick } = values
  if (quick && into === undefined) throw new Error('--quick: its figures mean nothing, so say --into')
  const only = values.only?.split(',')
  const unknown = only?.find((name) => BENCHES.every((bench) => bench.name !== name))
  if (unknown !== undefined) throw new Error(`--only: there is no bench ${JSON.stringify(unknown)}`)
  if (only !== undefined && from !== undefined) throw new Error('--only and --from: expected one of the two')
  return { from, only, into: into ?? import.meta.dirname, quick }
}

function run(benches: readonly Bench[], quick: boolean): Promise<BenchReport[]> {
  return runBenches(benches, {
    quick,
    seconds: quick ? undefined : MEMORY_SECONDS,
    progress: showProgress,
  })
}

async function runAll(quick: boolean): Promise<BenchDocument> {
  const machine = describeMachine()
  return { machine, benches: await run(BENCHES, quick) }
}

/** Results with some of them measured again. */
async function runSome({ only, into, quick }: Wishes): Promise<BenchDocument> {
  const before = await readDocument(join(into, 'results.json'))
  const date = new Date().toISOString()
  const again = new Map<string, BenchReport>()
  const chosen = BENCHES.filter(({ name }) => only?.includes(name))
  for (const report of await run(chosen, quick)) again.set(report.name, { ...report, again_on: date })
  return { ...before, benches: before.benches.map((report) => again.get(report.name) ?? report) }
}

/** From our own file, whose type is the document's. */
async function readDocument(path: string): Promise<BenchDocument> {
  return JSON.parse(await readFile(path, 'utf8')) as BenchDocument
}

async function documentOf(wishes: Wishes): Promise<BenchDocument> {
  if (wishes.from !== undefined) return readDocument(wishes.from)
  return wishes.only === undefined ? runAll(wishes.quick) : runSome(wishes)
}

async function write(wishes: Wishes): Promise<void> {
  const { from, into } = wishes
  const document = await documentOf(wishes)
  await mkdir(join(into, 'plots'), { recursive: true })
  if (from === undefined) {
    await writeFile(join(into, 'results.json'), `${JSON.stringify(document, undefined, 2)}\n`)
  }
  const sections: Section[] = []
  for (const report of document.benches) {
    const subjects = BENCHES.find(({ name }) => name === report.name)?.subjects ?? []
    const plot = plotOf(report, subjects)
    if (plot !== undefined) await writeFile(join(into, 'plots', plot.file), plot.svg)
    sections.push({ report, subjects, method: await methodOf(report.name), plot })
  }
  await writeFile(join(into, 'README.md'), renderPage(document, sections))
}

async function main(): Promise<number> {
  let wishes: Wishes | 'help'
  try {
    wishes = parseWishes(process.argv.slice(2))
  } catch (error) {
    process.stderr.write(`bench:report: ${error instanceof Error ? error.message : String(error)}\n${USAGE}`)
    return 2
  }
  if (wishes === 'help') {
    process.stdout.write(USAGE)
    return 0
  }
  const asked = wishes
  return exitStatusOf(() => write(asked))
}

process.exitCode = await main()

/**
 * `npm run bench:report -- [--from FILE] [--into DIR] [--quick]`
 *
 * Runs all benches and writes what they found: `results.json`, the page `README.md` and its `plots/`. With `--from`, nothing
 * is run and the page is made again from those results. Exit 0 whether or not the bars are met, 1 on a fault, 2 on bad
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
import type { BenchDocument } from './support/report.ts'
import { exitStatusOf, runBenches, showProgress } from './support/run-benches.ts'

const USAGE = `usage: npm run bench:report -- [--from FILE] [--into DIR] [--quick]
  --from FILE  make the page from these results; nothing is run
  --into DIR   where to write [bench]
  --quick      as little as shows that everything works; the figures mean nothing; with --into only
`

/** How long `memory` keeps its load up: less than it would by itself, to keep the whole run near ten minutes. */
const MEMORY_SECONDS = 30

interface Wishes {
  readonly from: string | undefined
  readonly into: string
  readonly quick: boolean
}

function parseWishes(args: string[]): Wishes | 'help' {
  const { values } = parseArgs({
    args,
    options: {
      from: { type: 'string' },
      into: { type: 'string' },
      quick: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return 'help'
  const { from, into, quick } = values
  if (quick && into === undefined) throw new Error('--quick: its figures mean nothing, so say --into')
  return { from, into: into ?? import.meta.dirname, quick }
}

async function runAll(quick: boolean): Promise<BenchDocument> {
  const machine = describeMachine()
  const benches = await runBenches(BENCHES, {
    quick,
    seconds: quick ? undefined : MEMORY_SECONDS,
    progress: showProgress,
  })
  return { machine, benches }
}

async function write({ from, into, quick }: Wishes): Promise<void> {
  // From our own file, whose type is the document's.
  const document =
    from === undefined ? await runAll(quick) : (JSON.parse(await readFile(from, 'utf8')) as BenchDocument)
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

/**
 * Runs the whole suite several times in a row and names every test that failed. A test that fails beside busy loops, or in one
 * run of many, depends on how fast the machine is.
 *
 * npm run flaky -- --runs 5 --busy
 */
import { spawn, spawnSync } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const USAGE = `Usage: npm run flaky -- [options] [FILE...]

Run the suite again and again and name every test that failed. Exit code 0 if all runs passed, 1 if not.

Arguments:
  FILE           run only test files whose path contains this (default: all)

Options:
  --runs N       number of runs, one after another (default: 3)
  --busy         run beside two busy loops
  --config FILE  vitest config (default: test/vitest.config.ts)
  --help         print this help
`

/** Keeps a processor busy until its parent exits. */
const BUSY_LOOP = `process.on('disconnect', () => process.exit())
const burn = () => { for (const until = Date.now() + 50; Date.now() < until;); setImmediate(burn) }
burn()`

const ROOT = fileURLToPath(new URL('..', import.meta.url))

interface Options {
  readonly runs: number
  readonly busy: boolean
  readonly config: string
  readonly files: readonly string[]
}

interface Failure {
  readonly where: string
  readonly firstLine: string
}

interface Run {
  readonly seconds: number
  readonly failures: readonly Failure[]
}

/** The part of vitest's JSON report that is read here. */
interface Report {
  readonly testResults: readonly {
    readonly name: string
    readonly status: string
    readonly message: string
    readonly assertionResults: readonly {
      readonly fullName: string
      readonly status: string
      readonly failureMessages: readonly string[]
    }[]
  }[]
}

function parseOptions(args: readonly string[]): Options | 'help' {
  const { positionals: files, values } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      runs: { type: 'string', default: '3' },
      busy: { type: 'boolean', default: false },
      config: { type: 'string', default: 'test/vitest.config.ts' },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return 'help'
  if (!/^[1-9]\d{0,3}$/.test(values.runs)) {
    throw new Error(`--runs must be a whole number from 1 to 9999, got "${values.runs}"`)
  }
  return { runs: Number(values.runs), busy: values.busy, config: values.config, files }
}

function startBusyLoops(): readonly ChildProcess[] {
  return [1, 2].map(() =>
    spawn(process.execPath, ['-e', BUSY_LOOP], { stdio: ['ignore', 'ignore', 'inherit', 'ipc'] }),
  )
}

function startSuite({ config, files }: Options, report: string, log: string): ChildProcess {
  const vitest = join(ROOT, 'node_modules/vitest/vitest.mjs')
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`]
  const output = openSync(log, 'w')
  // In a process group of its own: an interrupt reaches this process first, which then ends the whole group.
  const suite = spawn(process.execPath, [vitest, 'run', '--config', config, ...reporters, ...files], {
    cwd: ROOT,
    stdio: ['ignore', output, output],
    detached: true,
  })
  closeSync(output)
  return suite
}

/** Kills a process, its group and all its descendants: tests also start processes in groups of their own. */
function killTree(root: number): void {
  const children = new Map<number, number[]>()
  for (const line of spawnSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' }).stdout.split('\n')) {
    const [pid = 0, parent = 0] = line.trim().split(/\s+/).map(Number)
    children.set(parent, [...(children.get(parent) ?? []), pid])
  }
  const tree = [root]
  for (const pid of tree) tree.push(...(children.get(pid) ?? []))
  for (const pid of [-root, ...tree]) {
    try {
      process.kill(pid, 'SIGKILL')
    } catch {
      // It has already ended.
    }
  }
}

async function failuresIn(report: string, code: number | null): Promise<readonly Failure[]> {
  const text = await readFile(report, 'utf8').catch(() => '{"testResults":[]}')
  const { testResults }: Report = JSON.parse(text)
  const failures = testResults.flatMap(({ name, status, message, assertionResults }) => {
    const file = name.replace(ROOT, '')
    const failed = assertionResults.filter((test) => test.status === 'failed')
    if (failed.length === 0 && status === 'failed') return [failureOf(file, message)]
    return failed.map((test) => failureOf(`${file} > ${test.fullName}`, test.failureMessages[0] ?? ''))
  })
  if (failures.length > 0 || code === 0) return failures
  return [failureOf('the run itself', `vitest ended with code ${code}; its log says why`)]
}

function failureOf(where: string, message: string): Failure {
  return { where, firstLine: message.trim().split('\n', 1)[0] ?? '' }
}

function say(line: string): void {
  process.stdout.write(`${line}\n`)
}

function summarize(runs: readonly Run[], folder: string): void {
  const failed = runs.filter(({ failures }) => failures.length > 0).length
  say(`\n${runs.length - failed} of ${runs.length} runs passed`)
  const where = new Set(runs.flatMap(({ failures }) => failures.map((failure) => failure.where)))
  for (const name of where) {
    say(`\n${name}`)
    for (const [at, { failures }] of runs.entries()) {
      for (const failure of failures) if (failure.where === name) say(`  run ${at + 1}: ${failure.firstLine}`)
    }
  }
  if (failed > 0) say(`\nThe logs of the runs are in ${folder}`)
}

async function runAll(options: Options): Promise<boolean> {
  const folder = await mkdtemp(join(tmpdir(), 'tgi-pool-flaky-'))
  const loops = options.busy ? startBusyLoops() : []
  let suite: ChildProcess | undefined
  const endAll = (): void => {
    for (const loop of loops) loop.kill('SIGKILL')
    if (suite?.pid !== undefined && suite.exitCode === null) killTree(suite.pid)
  }
  for (const [signal, code] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    process.once(signal, () => {
      endAll()
      process.exit(code)
    })
  }

  const runs: Run[] = []
  for (let at = 1; at <= options.runs; at += 1) {
    const startedMs = performance.now()
    const report = join(folder, `run-${at}.json`)
    suite = startSuite(options, report, join(folder, `run-${at}.log`))
    const code = await new Promise<number | null>((resolve) => suite?.once('exit', resolve))
    const seconds = Math.round((performance.now() - startedMs) / 1000)
    const failures = await failuresIn(report, code)
    runs.push({ seconds, failures })
    say(`run ${at} of ${options.runs}: ${outcomeOf(failures)} in ${seconds} s`)
    for (const failure of failures) say(`  ${failure.where}`)
  }
  endAll()
  summarize(runs, folder)
  const passed = runs.every(({ failures }) => failures.length === 0)
  if (passed) await rm(folder, { recursive: true })
  return passed
}

function outcomeOf(failures: readonly Failure[]): string {
  return failures.length === 0 ? 'passed' : `${failures.length} failed`
}

try {
  const options = parseOptions(process.argv.slice(2))
  if (options === 'help') process.stdout.write(USAGE)
  else process.exitCode = (await runAll(options)) ? 0 : 1
} catch (error) {
  process.stderr.write(`flaky: ${error instanceof Error ? error.message : String(error)}\n\n${USAGE}`)
  process.exitCode = 2
}

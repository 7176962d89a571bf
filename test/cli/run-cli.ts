import { spawn } from 'node:child_process'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect } from 'vitest'

/** How a command ended, and all that it printed. */
export interface CliResult {
  /** Undefined when a signal ended it. */
  readonly status: number | undefined
  readonly signal: NodeJS.Signals | undefined
  readonly stdout: string
  readonly stderr: string
}

/** A command that runs. */
export interface CliRun {
  readonly pid: number
  /** What it has printed so far. */
  readonly stdout: string
  readonly stderr: string
  readonly isOver: boolean
  /** Settles when it has ended and its pipes are closed. */
  readonly over: Promise<CliResult>
  kill(signal: NodeJS.Signals): void
  /** Writes into its stdin, if that was kept open. */
  type(text: string): void
  /** Ctrl-C as npm delivers it: once from the terminal, once from npm, a millisecond or two apart. */
  interruptTwice(gapMs?: number): void
  /** Closes the reading end of its stdout, as `head` does. */
  closeStdout(): void
  /** Closes the reading end of its stderr. */
  closeStderr(): void
  /** Waits until it has printed a text; fails at once when it ends without. */
  printed(text: string, where?: 'stdout' | 'stderr'): Promise<void>
}

/** How to run a command. */
export interface CliOptions {
  /** On top of PATH, which is all that a child gets of this process's environment. */
  readonly env?: Readonly<Record<string, string>> | undefined
  /** Written to its stdin, which is then closed. @defaultValue nothing */
  readonly stdin?: string | undefined
  /** Leave its stdin open for {@link CliRun.type}. @defaultValue false */
  readonly keepStdin?: boolean | undefined
  /** A module that Node loads first. */
  readonly preload?: URL | undefined
}

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))

/** Starts the real command line as a process of its own. */
export function startCli(args: readonly string[], options: CliOptions = {}): CliRun {
  const preload = options.preload === undefined ? [] : ['--import', options.preload.href]
  const child = spawn(process.execPath, [...preload, MAIN, ...args], {
    stdio: 'pipe',
    env: { PATH: process.env['PATH'], NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'], ...options.env },
  })
  const pid = child.pid
  if (pid === undefined) throw new Error(`${process.execPath} did not start`)
  const printed = { stdout: '', stderr: '' }
  for (const where of ['stdout', 'stderr'] as const) {
    child[where].setEncoding('utf8').on('data', (text: string) => {
      printed[where] += text
    })
  }
  // A command that refuses its arguments does not read what it is given.
  child.stdin.on('error', () => undefined)
  if (options.keepStdin !== true) child.stdin.end(options.stdin ?? '')
  let isOver = false
  /** Called after every piece of output and at the end; each tells whether it is done. */
  const watchers = new Set<() => boolean>()
  const look = () => {
    for (const watch of watchers) if (watch()) watchers.delete(watch)
  }
  child.stdout.on('data', look)
  child.stderr.on('data', look)
  const over = ended(child).then(([status, signal]) => {
    isOver = true
    look()
    return { status: status ?? undefined, signal: signal ?? undefined, ...printed }
  })
  const kill = (signal: NodeJS.Signals) => {
    if (isOver) return
    try {
      process.kill(pid, signal)
    } catch (error) {
      // It may end by itself between our look and the signal.
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }
  return {
    pid,
    get stdout() {
      return printed.stdout
    },
    get stderr() {
      return printed.stderr
    },
    get isOver() {
      return isOver
    },
    over,
    kill,
    type: (text) => void child.stdin.write(text),
    interruptTwice(gapMs = 2) {
      kill('SIGINT')
      setTimeout(() => kill('SIGINT'), gapMs)
    },
    closeStdout: () => void child.stdout.destroy(),
    closeStderr: () => void child.stderr.destroy(),
    printed(text, where = 'stdout') {
      return new Promise((resolve, reject) => {
        watchers.add(() => {
          if (printed[where].includes(text)) resolve()
          else if (isOver) reject(new Error(`${args.join(' ')} ended without ${text}: ${printed.stderr}`))
          else return false
          return true
        })
        look()
      })
    },
  }
}

function ended(child: ChildProcessWithoutNullStreams): Promise<[number | null, NodeJS.Signals | null]> {
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (status, signal) => resolve([status, signal]))
  })
}

/** The JSON values of lines, every one of which must be JSON. */
export function jsonLines(text: string): unknown[] {
  expect(text === '' || text.endsWith('\n')).toBe(true)
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as unknown)
}

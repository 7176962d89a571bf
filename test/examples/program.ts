import { spawn } from 'node:child_process'
import type { ChildProcessWithoutNullStreams } from 'node:child_process'

/** A program that runs in a process group of its own. */
export interface Program {
  /** What it has printed so far. */
  readonly stdout: string
  readonly stderr: string
  /** Settles with its status when it has ended and its pipes are closed; null when a signal ended it. */
  readonly over: Promise<number | null>
  /** Waits until it has printed a text; fails at once when it ends without. */
  printed(text: string | RegExp, where?: 'stdout' | 'stderr'): Promise<void>
  kill(signal: NodeJS.Signals): void
  /** Asks it and whatever it has started to end, and insists. */
  end(): Promise<void>
}

/** How to run it. */
export interface ProgramOptions {
  readonly cwd: string
  /** On top of PATH, which is all that a child gets of this process's environment. */
  readonly env?: Readonly<Record<string, string>> | undefined
}

/** How long a program may take to end when it is asked to (ms). */
const ASKED_MS = 20_000

/** Starts a program; the caller ends it. */
export function startProgram(command: string, args: readonly string[], options: ProgramOptions): Program {
  const child = spawn(command, args, {
    cwd: options.cwd,
    env: { PATH: process.env['PATH'], ...options.env },
    stdio: 'pipe',
    detached: true,
  })
  child.stdin.end()
  let isOver = false
  const output = watchOutput(child)
  const over = ended(child).finally(() => {
    isOver = true
    output.look()
  })
  const kill = (signal: NodeJS.Signals) => {
    if (!isOver) signalGroup(child, signal)
  }
  return {
    get stdout() {
      return output.texts.stdout
    },
    get stderr() {
      return output.texts.stderr
    },
    over,
    printed(text, where = 'stdout') {
      const has = () =>
        typeof text === 'string' ? output.texts[where].includes(text) : text.test(output.texts[where])
      return output.until(has, () => {
        if (isOver)
          throw new Error(`${command} ${args.join(' ')} ended without ${text}: ${output.texts.stderr}`)
      })
    },
    kill,
    async end() {
      kill('SIGTERM')
      const late = setTimeout(() => kill('SIGKILL'), ASKED_MS)
      await over.catch(() => undefined)
      clearTimeout(late)
    },
  }
}

/** Keeps what a program prints, and tells when it is what somebody waits for. */
function watchOutput(child: ChildProcessWithoutNullStreams) {
  const texts = { stdout: '', stderr: '' }
  const watchers = new Set<() => boolean>()
  const look = () => {
    for (const watch of watchers) if (watch()) watchers.delete(watch)
  }
  for (const where of ['stdout', 'stderr'] as const) {
    child[where].setEncoding('utf8').on('data', (text: string) => {
      texts[where] += text
      look()
    })
  }
  return {
    texts,
    look,
    /** Resolves when something holds; rejects with what `unless` throws. */
    until: (holds: () => boolean, unless: () => void) =>
      new Promise<void>((resolve, reject) => {
        watchers.add(() => {
          if (holds()) {
            resolve()
            return true
          }
          try {
            unless()
            return false
          } catch (error) {
            reject(error)
            return true
          }
        })
        look()
      }),
  }
}

function ended(child: ChildProcessWithoutNullStreams): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (status) => resolve(status))
  })
}

function signalGroup(child: ChildProcessWithoutNullStreams, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return
  try {
    process.kill(-child.pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

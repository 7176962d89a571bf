import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { WorkerOptions } from '../../src/worker/worker-options.ts'

/** What a worker in a process of its own is told. */
export interface ChildOptions extends Omit<WorkerOptions, 'logger'> {
  /** How long SIGTERM waits for running jobs (ms). */
  readonly graceMs: number
}

/** How a process ended. */
interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** A worker in a process of its own. */
export interface Child {
  readonly pid: number
  /** All that it has written so far, on stdout and stderr. */
  output(): string
  /** Resolves when it has said so; rejects when it ends without. */
  hasSaid(text: string): Promise<void>
  kill(signal: NodeJS.Signals): void
  readonly exited: Promise<Exit>
  /** Kills it if it is there still; resolves when it is gone. */
  end(): Promise<void>
}

/** How long SIGUSR2 blocks a worker's event loop (ms): longer than a short lock lasts and another needs to start. */
export const BLOCK_MS = 6000

const SCRIPT = fileURLToPath(new URL('../process/worker-child.ts', import.meta.url))

/** Starts a worker in a process of its own, which says `worker started` when it serves. The caller ends it. */
export function spawnWorker(options: ChildOptions): Child {
  const child = spawn(process.execPath, [SCRIPT, JSON.stringify(options)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let output = ''
  /** Called after every piece of output. */
  const watchers = new Set<() => void>()
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text
      for (const look of watchers) look()
    })
  }
  const exited = new Promise<Exit>((resolve) =>
    child.once('close', (code, signal) => resolve({ code, signal })),
  )
  return {
    pid: child.pid ?? 0,
    output: () => output,
    hasSaid(text) {
      return new Promise((resolve, reject) => {
        const look = () => {
          if (output.includes(text)) resolve()
        }
        watchers.add(look)
        void exited.then(() => reject(new Error(`the worker ended without ${text}: ${output}`)))
        look()
      })
    },
    kill: (signal) => void child.kill(signal),
    exited,
    async end() {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL')
      await exited
    },
  }
}

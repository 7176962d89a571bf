import { execFile } from 'node:child_process'
import { cp, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** How a program ended. */
export interface Ended {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/** How to run a program. */
export interface RunOptions {
  readonly cwd: string
  readonly env?: Readonly<Record<string, string>> | undefined
}

/** Runs a program to its end; what it says is kept. Never throws for its status. */
export function run(program: string, args: readonly string[], { cwd, env }: RunOptions): Promise<Ended> {
  return new Promise((resolve) => {
    const child = execFile(
      program,
      args,
      { cwd, env: { ...cleanEnv(), ...env }, maxBuffer: 64 * 1024 * 1024, timeout: 280_000 },
      (error, stdout, stderr) => {
        resolve({ status: error === null ? 0 : (child.exitCode ?? 1), stdout, stderr })
      },
    )
  })
}

/** Runs a program that must succeed; answers its stdout. */
export async function must(program: string, args: readonly string[], options: RunOptions): Promise<string> {
  const { status, stdout, stderr } = await run(program, args, options)
  if (status === 0) return stdout
  throw new Error(`${program} ${args.join(' ')} ended with ${status}:\n${stdout}\n${stderr}`)
}

/** Without what npm tells its scripts: it would steer an npm that works elsewhere. */
function cleanEnv(): Record<string, string | undefined> {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^npm_|^INIT_CWD$|^NODE_ENV$/.test(name)),
  )
}

/** A folder that is gone when `done` has been called. */
export async function tempFolder(): Promise<{ readonly path: string; readonly done: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'tgi-pool-ops-'))
  return { path, done: () => rm(path, { recursive: true, force: true, maxRetries: 5 }) }
}

/** Copies files and folders of the checkout, without what is installed or built there. */
export async function copyCheckout(names: readonly string[], to: string): Promise<void> {
  for (const name of names) {
    await cp(join(ROOT, name), join(to, name), {
      recursive: true,
      filter: (source) => !/\/(node_modules|dist)(\/|$)/.test(source.slice(ROOT.length - 1)),
    })
  }
}

/** A tool of the checkout. */
export function tool(name: string): string {
  return join(ROOT, 'node_modules', '.bin', name)
}

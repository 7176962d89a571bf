import { cp, mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePort } from '../../src/redis/server.ts'
import { test as base } from '../cli/stage.ts'
import type { Stage } from '../cli/stage.ts'
import type { CliRun } from '../cli/run-cli.ts'
import { startProgram } from './program.ts'
import type { Program, ProgramOptions } from './program.ts'

/** The checkout. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url))

/** A gateway in a process of its own, always at the same address. */
export interface GatewayProcess {
  readonly url: string
  /** Ends it: at once, without a word, unless another signal asks. */
  kill(signal?: NodeJS.Signals): Promise<void>
  /** Starts it again. */
  again(): Promise<void>
}

/** A user's folder, and what a user may have running there. */
export interface Examples extends Stage {
  /** Runs a program in the test's folder; it is ended after the test. */
  run(command: string, args: readonly string[], options?: Partial<ProgramOptions>): Program
  /** Starts a gateway. */
  gateway(options?: { readonly corsOrigins?: string | undefined }): Promise<GatewayProcess>
}

/**
 * Makes a folder one of a user who has installed the package and copied the examples: `tgi-pool` in its `node_modules` is
 * the source of the checkout, of which Node strips the types.
 */
export async function makeProject(dir: string): Promise<void> {
  const own = join(dir, 'node_modules', 'tgi-pool')
  await mkdir(own, { recursive: true })
  await symlink(join(ROOT, 'src'), join(own, 'src'))
  await symlink(join(ROOT, 'schemas'), join(own, 'schemas'))
  const exports = { '.': './src/index.ts', './schemas/*': './schemas/*' }
  await writeFile(join(own, 'package.json'), JSON.stringify({ name: 'tgi-pool', type: 'module', exports }))
  for (const name of ['eventsource-parser', '@types', 'undici-types'])
    await symlink(join(ROOT, 'node_modules', name), join(dir, 'node_modules', name))
  await writeFile(join(dir, 'package.json'), '{ "name": "user", "private": true, "type": "module" }')
  await cp(join(ROOT, 'examples'), join(dir, 'examples'), { recursive: true })
  await symlink(join(ROOT, 'schemas'), join(dir, 'schemas'))
}

/** `test` with a stage whose folder is a user's project. */
export const test = base.extend('examples', async ({ stage }, { onCleanup }): Promise<Examples> => {
  await makeProject(stage.dir)
  const undo: (() => Promise<void>)[] = []
  onCleanup(async () => {
    await Promise.all(undo.map((step) => step()))
  })
  return {
    ...stage,
    run(command, args, options) {
      const env = { REDIS_URL: stage.redisUrl, TGI_POOL: stage.pool, ...options?.env }
      const program = startProgram(command, args, { cwd: options?.cwd ?? stage.dir, env })
      undo.push(() => program.end())
      return program
    },
    gateway: async ({ corsOrigins } = {}) => {
      const port = await freePort()
      const env = corsOrigins === undefined ? {} : { TGI_POOL_CORS_ORIGINS: corsOrigins }
      let run: CliRun | undefined
      const kill = async (signal: NodeJS.Signals = 'SIGKILL') => {
        run?.kill(signal)
        await run?.over
      }
      const again = async () => {
        run = stage.start(['gateway', '--port', String(port)], { env })
        await run.printed('gateway started', 'stderr')
      }
      undo.push(() => kill())
      await again()
      return { url: `http://127.0.0.1:${port}`, kill, again }
    },
  }
})

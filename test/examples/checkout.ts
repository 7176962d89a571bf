import { createHash } from 'node:crypto'
import { cp, mkdir, readFile, readdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { must } from '../ops/run.ts'
import { ROOT } from './stage.ts'

/** What a fresh clone would not have, and what no snippet needs. */
const LEFT_OUT = new Set(['node_modules', 'dist', 'test', '.git', '.ci', '.setup-lock'])

/** Where scripts/setup.mjs notes what it has installed. */
const STAMP = '.tgi-pool-setup'

/** Makes a folder a fresh clone whose set-up has been done; its packages are those of the checkout. */
export async function makeCheckout(dir: string): Promise<void> {
  await mkdir(dir, { recursive: true })
  for (const name of await readdir(ROOT))
    if (!LEFT_OUT.has(name)) await cp(join(ROOT, name), join(dir, name), { recursive: true })
  await installPackages(dir)
  // Answers of 400 and above are faults to a shell, too.
  await writeFile(join(dir, '.curlrc'), 'fail-with-body\nshow-error\n')
}

/** Gives a folder the checkout's packages, if it is a clone without any. */
export async function installPackages(dir: string): Promise<void> {
  const names = await readdir(dir)
  if (!names.includes('package-lock.json') || names.includes('node_modules')) return
  // A folder of its own, with a stamp of its own: the set-up finds all in place and installs nothing into the checkout's.
  const modules = join(dir, 'node_modules')
  await mkdir(modules)
  for (const name of await readdir(join(ROOT, 'node_modules')))
    if (name !== STAMP) await symlink(join(ROOT, 'node_modules', name), join(modules, name))
  const lock = createHash('sha256').update(await readFile(join(dir, 'package-lock.json')))
  await writeFile(join(modules, STAMP), lock.digest('hex'))
}

/** The address that documents clone, and that leads to a fresh clone in tests. */
const REPOSITORY = 'https://github.com/tgi-pool/tgi-pool'

/** Makes what {@link makeCheckout} has made a repository, so that `git clone` of the public address gets it. */
export async function makeRepository(dir: string): Promise<void> {
  const git = (...args: readonly string[]) =>
    must('git', ['-c', 'user.name=test', '-c', 'user.email=test@example.com', ...args], { cwd: dir })
  await git('init', '--quiet')
  await git('add', '--all')
  await git('commit', '--quiet', '--message', 'The checkout')
}

/** Puts `tgi-pool` into a folder, as an install of the package does. */
export async function installCommand(folder: string, checkout: string): Promise<void> {
  await mkdir(folder, { recursive: true })
  const script = `#!/bin/sh\nexec '${process.execPath}' '${join(checkout, 'src/cli/main.ts')}' "$@"\n`
  await writeFile(join(folder, 'tgi-pool'), script, { mode: 0o755 })
}

/** The environment of a user's shell there: the machine's own programs and a folder of commands, none of the checkout's. */
export function shellEnv(dir: string, redisUrl: string, commands: string): Record<string, string> {
  const path = (process.env['PATH'] ?? '').split(':').filter((folder) => !folder.includes('/node_modules/'))
  return {
    PATH: [commands, ...path].join(':'),
    HOME: dir,
    CURL_HOME: dir,
    GIT_CONFIG_COUNT: '1',
    GIT_CONFIG_KEY_0: `url.file://${dir}.insteadOf`,
    GIT_CONFIG_VALUE_0: REPOSITORY,
    REDIS_URL: redisUrl,
    npm_config_update_notifier: 'false',
    PYTHONUNBUFFERED: '1',
    PIP_DISABLE_PIP_VERSION_CHECK: '1',
  }
}

import { createHash } from 'node:crypto'
import { cp, mkdir, readFile, readdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
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
  // A folder of its own, with a stamp of its own: the set-up finds all in place and installs nothing into the checkout's.
  const modules = join(dir, 'node_modules')
  await mkdir(modules)
  for (const name of await readdir(join(ROOT, 'node_modules')))
    if (name !== STAMP) await symlink(join(ROOT, 'node_modules', name), join(modules, name))
  const lock = createHash('sha256').update(await readFile(join(dir, 'package-lock.json')))
  await writeFile(join(modules, STAMP), lock.digest('hex'))
  // Answers of 400 and above are faults to a shell, too.
  await writeFile(join(dir, '.curlrc'), 'fail-with-body\nshow-error\n')
}

/** The environment of a user's shell there: the machine's own programs, none of the checkout's. */
export function shellEnv(dir: string, redisUrl: string): Record<string, string> {
  const path = (process.env['PATH'] ?? '').split(':').filter((folder) => !folder.includes('/node_modules/'))
  return {
    PATH: path.join(':'),
    HOME: dir,
    CURL_HOME: dir,
    REDIS_URL: redisUrl,
    npm_config_update_notifier: 'false',
    PYTHONUNBUFFERED: '1',
    PIP_DISABLE_PIP_VERSION_CHECK: '1',
  }
}

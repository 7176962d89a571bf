// Builds `dist` for a package: npm runs this for `npm pack`, `npm publish` and an install from git, but also for every install
// in a checkout. It may run inside an install, so it installs nothing. Plain JavaScript, for any Node from 18 on.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

if (existsSync(new URL('../node_modules/typescript', import.meta.url))) {
  const npm = process.env.npm_execpath
  // --ignore-scripts skips prebuild, which would install packages.
  const args = ['run', '--silent', '--ignore-scripts', 'build']
  const [command, all] = npm ? [process.execPath, [npm, ...args]] : ['npm', args]
  const { status } = spawnSync(command, all, { cwd: root, stdio: ['ignore', 2, 2] })
  if (status !== 0) {
    process.stderr.write(`tgi-pool: the build failed (exit ${status}); see its output above\n`)
    process.exit(1)
  }
} else {
  process.stderr.write('tgi-pool: no TypeScript is installed here, so dist is not built\n')
}

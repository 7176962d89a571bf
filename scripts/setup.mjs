// Makes a fresh checkout ready; runs before `npm test`, `npm run demo` and the rest, on any Node from 18 on, so
// plain JavaScript without packages. Says what it does on stderr and nothing on stdout.
//
//   node scripts/setup.mjs                    packages as in the lock file, and a Node that is new enough
//   node scripts/setup.mjs --redis            also a valkey-server or redis-server, 7 or newer: REDIS_SERVER, or from the PATH
//   node scripts/setup.mjs --redis=unless-url the same, unless REDIS_URL names one
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const modules = join(root, 'node_modules')
const stampFile = join(modules, '.tgi-pool-setup')
const lockDir = join(root, '.setup-lock')
const minNode = [22, 19]
const minRedis = 7

process.chdir(root)
installPackages()
checkNode()
const redis = process.argv.find((arg) => arg.startsWith('--redis'))
if (redis === '--redis' || (redis === '--redis=unless-url' && !process.env.REDIS_URL)) ensureRedis()

function say(text) {
  process.stderr.write(`tgi-pool set-up: ${text}\n`)
}

function fail(text) {
  say(text)
  process.exit(1)
}

function installPackages() {
  const wanted = createHash('sha256').update(readFileSync('package-lock.json')).digest('hex')
  const done = () => existsSync(stampFile) && readFileSync(stampFile, 'utf8') === wanted
  if (done()) return
  // Two terminals may start at once: the second waits for the first.
  takeLock()
  try {
    if (done()) return
    say('installing packages from the lock file …')
    const npm = process.env.npm_execpath
    const args = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error']
    const [command, all] = npm ? [process.execPath, [npm, ...args]] : ['npm', args]
    const { status } = spawnSync(command, all, { stdio: ['ignore', 2, 2] })
    if (status !== 0) fail(`npm ci failed (exit ${status}); see its output above`)
    writeFileSync(stampFile, wanted)
  } finally {
    rmSync(lockDir, { recursive: true, force: true })
  }
}

function takeLock() {
  const pidFile = join(lockDir, 'pid')
  for (;;) {
    try {
      mkdirSync(lockDir)
      writeFileSync(pidFile, String(process.pid))
      return
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
    }
    // Between mkdir and the pid there is a moment without a pid; only a dead holder is pushed aside.
    const pid = existsSync(pidFile) ? Number(readFileSync(pidFile, 'utf8')) : 0
    if (pid > 0 && !alive(pid)) rmSync(lockDir, { recursive: true, force: true })
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200)
  }
}

function alive(pid) {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error.code === 'EPERM'
  }
}

function checkNode() {
  const own = join(modules, '.bin', 'node')
  const version = existsSync(own)
    ? spawnSync(own, ['--version'], { encoding: 'utf8' }).stdout
    : process.version
  const [major, minor] = version.replace('v', '').split('.').map(Number)
  if (major > minNode[0] || (major === minNode[0] && minor >= minNode[1])) return
  fail(
    `expected Node ${minNode.join('.')} or newer, got ${version.trim()}. On Linux (x64, arm64) npm brings one by itself; here, install one: https://nodejs.org`,
  )
}

function ensureRedis() {
  const named = process.env.REDIS_SERVER
  const found = findRedis()
  if (found.usable) return
  if (named) fail(`REDIS_SERVER: expected a server program, ${minRedis} or newer, got ${found.old ?? named}`)
  const why = found.old
    ? `${found.old} is older than ${minRedis}`
    : 'no valkey-server or redis-server on the PATH'
  for (const manager of managers()) {
    if (!runs(manager.probe)) continue
    const prefix = manager.needsRoot ? rootPrefix() : []
    if (prefix === undefined) break
    say(`${why}; installing ${manager.package} with ${manager.name} …`)
    for (const args of manager.commands) {
      const [command, ...rest] = [...prefix, ...args]
      // RUNLEVEL keeps Debian's packages from starting a server of their own.
      const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive', RUNLEVEL: '1' }
      spawnSync(command, rest, { stdio: ['ignore', 'ignore', 2], env })
      if (findRedis().usable) return
    }
    break
  }
  fail(
    `${why}. Install one and run this again: Debian, Ubuntu: sudo apt-get install redis-server · Fedora: sudo dnf install valkey · Alpine: apk add valkey · macOS: brew install valkey`,
  )
}

function findRedis() {
  let old
  const named = process.env.REDIS_SERVER
  for (const name of named ? [named] : ['valkey-server', 'redis-server']) {
    const { status, stdout } = spawnSync(name, ['--version'], { encoding: 'utf8' })
    if (status !== 0) continue
    const version = /v=(\d+)[\d.]*/.exec(stdout)
    if (version !== null && Number(version[1]) >= minRedis) return { usable: true }
    old = `${name} ${version === null ? 'of unknown version' : version[0].slice(2)}`
  }
  return { usable: false, old }
}

function managers() {
  return [
    {
      name: 'apt-get',
      probe: ['apt-get', '--version'],
      package: 'redis-server',
      needsRoot: true,
      commands: [
        ['apt-get', 'install', '-y', '--no-install-recommends', 'redis-server'],
        ['apt-get', 'update'],
        ['apt-get', 'install', '-y', '--no-install-recommends', 'redis-server'],
      ],
    },
    {
      name: 'dnf',
      probe: ['dnf', '--version'],
      package: 'valkey',
      needsRoot: true,
      commands: [['dnf', 'install', '-y', 'valkey']],
    },
    {
      name: 'apk',
      probe: ['apk', '--version'],
      package: 'valkey',
      needsRoot: true,
      commands: [['apk', 'add', 'valkey']],
    },
    {
      name: 'brew',
      probe: ['brew', '--version'],
      package: 'valkey',
      needsRoot: false,
      commands: [['brew', 'install', 'valkey']],
    },
  ]
}

function rootPrefix() {
  if (process.getuid?.() === 0) return []
  return runs(['sudo', '-n', 'true']) ? ['sudo', '-n'] : undefined
}

function runs([command, ...args]) {
  return spawnSync(command, args, { stdio: 'ignore' }).status === 0
}

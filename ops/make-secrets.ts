/**
 * Makes every password and key of a deployment, each once: what exists stays.
 *
 *     node ops/make-secrets.ts [--volumes] ops/redis.acl /secrets [redis://host:port]
 *
 * For each user of the ACL file that is `off` there, except `default`: `<role>/redis.env` with a REDIS_URL of its own.
 * Then `redis/users.acl`, which holds only the SHA-256 of each password; `gateway/bearer`, for callers of the gateway;
 * `metrics/bearer`, for Prometheus; `replica/api_key`, which workers send to TGI.
 *
 * Folders are 0700 and files 0400: only the user who ran this can read them. With `--volumes` files are 0444 and folders
 * keep their mode: compose.yaml mounts each folder as a volume of its own into the containers of its reader alone, and those
 * run under other user ids.
 */
import { createHash, randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

const args = process.argv.slice(2)
const forVolumes = args[0] === '--volumes'
const [template, out, redisUrl = 'redis://redis:6379'] = forVolumes ? args.slice(1) : args
if (template === undefined || out === undefined || template.startsWith('-')) {
  process.stderr.write('make-secrets: expected [--volumes], an ACL file and a folder\n')
  process.exit(2)
}
const FILE_MODE = forVolumes ? 0o444 : 0o400
const users = readUsers(template)
writeFile(join(out, 'redis', 'users.acl'), `${users.map((user) => switchOn(user, out)).join('\n')}\n`)
once(join(out, 'gateway', 'bearer'), () => `${secret()}\n`)
once(join(out, 'metrics', 'bearer'), () => `${secret()}\n`)
once(join(out, 'replica', 'api_key'), () => `${secret()}\n`)

/** The users of an ACL file for people: comments are dropped, and lines that begin with a space belong together. */
function readUsers(path: string): string[] {
  const lines = readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line.trim() !== '' && !line.startsWith('#'))
  return lines
    .join('\n')
    .replaceAll(/\n\s+/g, ' ')
    .replaceAll(/[^\s(]+<job-id>(?: [^\s(]+<job-id>)*/g, writeOutJobIds)
    .split('\n')
}

/**
 * Turns `%W~…:jobs:<job-id> %W~…:batch:<job-id>` into the patterns that match every job's key and none of the queues' own. Redis
 * tries them in their order, so those that match most jobs come first, of all queues.
 */
function writeOutJobIds(places: string): string {
  const befores = places.split(' ').map((place) => place.slice(0, -'<job-id>'.length))
  return patternsOfJobIds()
    .flatMap((end) => befores.map((before) => `${before}${end}`))
    .join(' ')
}

/**
 * BullMQ stores a job under `<queue>:<id>`, beside its own `<queue>:meta`, `<queue>:wait`, …, which no job may be named after
 * (jobIdSchema in src/contract/ids.ts has the same list). Redis's patterns have no exceptions, so these list what is left: for
 * every beginning of a word, the texts that go on differently and the beginning by itself.
 */
function patternsOfJobIds(): string[] {
  const words =
    'active wait waiting-children paused id delayed prioritized stalled-check completed failed stalled repeat limiter meta events pc marker de'.split(
      ' ',
    )
  const beginnings = new Set(words.flatMap((word) => Array.from(`${word}.`, (_, end) => word.slice(0, end))))
  // First, since ids that were made here have digits, and no word has.
  const patterns = ['*[0-9A-Z]*']
  for (const begin of beginnings) {
    const next = new Set(
      words.filter((word) => word.startsWith(begin)).map((word) => word.charAt(begin.length)),
    )
    next.delete('')
    patterns.push(next.size === 0 ? `${begin}?*` : `${begin}[^${[...next].join('')}]*`)
    if (begin !== '' && !words.includes(begin)) patterns.push(begin)
  }
  return patterns
}

/** Gives a user its password and switches it on; `default` and users without a password stay as they are. */
function switchOn(user: string, folder: string): string {
  const role = /^user (\S+) off\b/.exec(user)?.[1]
  if (role === undefined || role === 'default') return user
  const env = once(join(folder, role, 'redis.env'), () => `REDIS_URL=${addressFor(role)}\n`)
  const password = new URL(env.trim().slice('REDIS_URL='.length)).password
  const hash = createHash('sha256').update(password).digest('hex')
  // Last, since rules count in their order and `resetpass` takes every password away.
  return `${user.replace(' off', ' on')} #${hash}`
}

function addressFor(role: string): string {
  const url = new URL(redisUrl)
  url.username = role
  url.password = secret()
  return url.href
}

/** 192 bits that fit an address, a header and a shell. */
function secret(): string {
  return randomBytes(24).toString('base64url')
}

/** What a file holds; made first when there is none. */
function once(path: string, make: () => string): string {
  if (!existsSync(path)) writeFile(path, make())
  else if (!forVolumes) protect(path)
  return readFileSync(path, 'utf8')
}

/** Whole or not at all, and never readable by more than in the end. */
function writeFile(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: forVolumes ? 0o755 : 0o700 })
  // Left by a run that was killed; it could not be opened for writing.
  rmSync(`${path}.new`, { force: true })
  writeFileSync(`${path}.new`, text, { mode: 0o400, flag: 'wx' })
  protect(`${path}.new`)
  renameSync(`${path}.new`, path)
}

/** Sets the modes, whatever the umask; files that were more open before are closed. */
function protect(path: string): void {
  chmodSync(path, FILE_MODE)
  if (!forVolumes) chmodSync(dirname(path), 0o700)
}

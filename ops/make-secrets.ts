/**
 * Makes every password and key that compose.yaml needs, each once: what is there stays.
 *
 *     node ops/make-secrets.ts ops/redis.acl /secrets [redis://host:port]
 *
 * For each user of the ACL file that is `off` there, but `default`: `<role>/redis.env` with a REDIS_URL of its own.
 * Then `redis/users.acl`, which knows passwords by their SHA-256 alone; `gateway/bearer`, for callers of the gateway;
 * `metrics/bearer`, for Prometheus; `replica/api_key`, which workers show to TGI. Each folder is a volume that only its reader mounts.
 */
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const [template, out, redisUrl = 'redis://redis:6379'] = process.argv.slice(2)
if (template === undefined || out === undefined) {
  process.stderr.write('make-secrets: expected an ACL file and a folder\n')
  process.exit(2)
}
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
  return lines.join('\n').replaceAll(/\n\s+/g, ' ').split('\n')
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
  return readFileSync(path, 'utf8')
}

/** Whole or not at all. Who may read it is decided by who mounts its folder, under whatever user id. */
function writeFile(path: string, text: string): void {
  mkdirSync(join(path, '..'), { recursive: true })
  writeFileSync(`${path}.new`, text, { mode: 0o444 })
  renameSync(`${path}.new`, path)
}

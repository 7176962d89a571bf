import { spawnSync } from 'node:child_process'
import { appendFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Redis } from 'ioredis'
import { test as base } from 'vitest'
import { connectToServer } from '../../src/redis/connect.ts'
import { startRedisServer } from '../../src/redis/server.ts'

/** The users of ops/redis.acl that processes of ours are. */
export const ROLES = ['producer', 'consumer', 'worker', 'gateway', 'metrics', 'operator'] as const

/** One of them. */
export type Role = (typeof ROLES)[number]

/** A real Redis that runs with ops/redis.acl. */
export interface AclRedis {
  /** Somebody who may do everything; not in ops/redis.acl. */
  readonly admin: Redis
  readonly adminUrl: string
  /** A role's address, as its process gets it. */
  urlOf(role: Role): string
  /** A connection as a role, closed after the test. */
  as(role: Role): Promise<Redis>
  /** What roles tried and were refused, oldest first, as `role command object`; cleared by looking. */
  refused(): Promise<string[]>
}

const OPS = fileURLToPath(new URL('../../ops/', import.meta.url))
const ADMIN_PASSWORD = 'of-the-test'

async function startAclRedis(): Promise<AclRedis & { close(): Promise<void>; sweep(): Promise<void> }> {
  const dir = await mkdtemp(join(tmpdir(), 'tgi-pool-acl-'))
  const start = join(dir, 'start.acl')
  await writeFile(start, 'user default on nopass ~* &* +@all\n')
  const server = await startRedisServer({ args: ['--aclfile', start] })
  const close = async () => {
    await server.stop()
    await rm(dir, { recursive: true, force: true })
  }
  try {
    const urls = await letRolesIn(server.url, dir, start)
    const adminUrl = server.url.replace('//', `//admin:${ADMIN_PASSWORD}@`)
    const admin = await connectToServer(adminUrl, { role: 'commands' })
    return withConnections(admin, adminUrl, urls, close)
  } catch (error) {
    await close()
    throw error
  }
}

/** Makes every role's password, and the server take ops/redis.acl and an admin; answers the roles' addresses. */
async function letRolesIn(url: string, dir: string, aclFile: string): Promise<Map<Role, string>> {
  const secrets = [join(OPS, 'make-secrets.ts'), join(OPS, 'redis.acl'), dir, url]
  const made = spawnSync(process.execPath, secrets, { encoding: 'utf8' })
  if (made.status !== 0) throw new Error(made.stderr)
  await writeFile(aclFile, await readFile(join(dir, 'redis', 'users.acl')))
  await appendFile(aclFile, `user admin on >${ADMIN_PASSWORD} ~* &* +@all\n`)
  const plain = await connectToServer(url, { role: 'commands' })
  try {
    await plain.acl('LOAD')
  } finally {
    plain.disconnect()
  }
  const urls = new Map<Role, string>()
  for (const role of ROLES) {
    const env = await readFile(join(dir, role, 'redis.env'), 'utf8')
    urls.set(role, env.trim().slice('REDIS_URL='.length))
  }
  return urls
}

function withConnections(
  admin: Redis,
  adminUrl: string,
  urls: ReadonlyMap<Role, string>,
  close: () => Promise<void>,
): AclRedis & { close(): Promise<void>; sweep(): Promise<void> } {
  const open: Redis[] = []
  const urlOf = (role: Role) => urls.get(role) ?? ''
  return {
    admin,
    adminUrl,
    urlOf,
    async as(role) {
      const redis = await connectToServer(urlOf(role), { role: 'commands' })
      open.push(redis)
      return redis
    },
    async refused() {
      const entries = (await admin.acl('LOG')) as readonly LogEntry[]
      await admin.acl('LOG', 'RESET')
      return entries.map(describe).toReversed()
    },
    async sweep() {
      for (const redis of open.splice(0)) redis.disconnect()
      await admin.flushall()
      await admin.acl('LOG', 'RESET')
    },
    async close() {
      admin.disconnect()
      await close()
    },
  }
}

type LogEntry = readonly unknown[] | Readonly<Record<string, unknown>>

/** An entry of ACL LOG is a list of names and values, or a map. */
function describe(entry: LogEntry): string {
  const fields = Array.isArray(entry)
    ? Object.fromEntries(entry.flatMap((name, at) => (at % 2 === 0 ? [[String(name), entry[at + 1]]] : [])))
    : (entry as Readonly<Record<string, unknown>>)
  return `${fields['username']} ${fields['reason']} ${fields['object']}`
}

/** All that is in Redis, key by key, whatever it is. */
export async function everything({ admin }: AclRedis): Promise<Record<string, string | undefined>> {
  const keys = (await admin.keys('*')).toSorted()
  const dumps = await Promise.all(keys.map(async (key) => (await admin.dumpBuffer(key))?.toString('hex')))
  return Object.fromEntries(keys.map((key, at) => [key, dumps[at]]))
}

/** `test` with a Redis that runs with ops/redis.acl, empty at the start of each test. */
export const test = base
  .extend('server', { scope: 'worker' }, async ({}, { onCleanup }) => {
    const server = await startAclRedis()
    onCleanup(() => server.close())
    return server
  })
  .extend('acl', async ({ server }, { onCleanup }): Promise<AclRedis> => {
    onCleanup(() => server.sweep())
    return server
  })

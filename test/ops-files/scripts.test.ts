import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { chmod, mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { spawn } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { expect, onTestFinished, test } from 'vitest'

const OPS = fileURLToPath(new URL('../../ops/', import.meta.url))
const PATH = process.env['PATH'] ?? ''

async function folder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'tgi-pool-ops-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  return dir
}

function makeSecrets(...args: string[]) {
  return spawnSync(process.execPath, [join(OPS, 'make-secrets.ts'), ...args], { encoding: 'utf8' })
}

/** Every file below a folder, with what it holds. */
async function contentsOf(dir: string): Promise<Record<string, string>> {
  const files = (await readdir(dir, { recursive: true, withFileTypes: true })).filter((file) => file.isFile())
  const entries = await Promise.all(
    files.map(async ({ parentPath, name }) => {
      const path = join(parentPath, name)
      return [path.slice(dir.length + 1), await readFile(path, 'utf8')] as const
    }),
  )
  return Object.fromEntries(entries)
}

test('make-secrets gives each role an address of its own, and Redis the hash of its password', async () => {
  const dir = await folder()
  expect(makeSecrets(join(OPS, 'redis.acl'), dir, 'rediss://redis.example:6380')).toMatchObject({
    status: 0,
    stdout: '',
    stderr: '',
  })
  const files = await contentsOf(dir)
  const roles = ['consumer', 'gateway', 'metrics', 'operator', 'producer', 'worker']
  expect(Object.keys(files).toSorted()).toEqual(
    [
      ...roles.map((role) => `${role}/redis.env`),
      'gateway/bearer',
      'metrics/bearer',
      'redis/users.acl',
      'replica/api_key',
    ].toSorted(),
  )
  const passwords = roles.map((role) => {
    const [, address = ''] = /^REDIS_URL=(.*)\n$/.exec(files[`${role}/redis.env`] ?? '') ?? []
    const url = new URL(address)
    expect([url.protocol, url.host, url.username]).toEqual(['rediss:', 'redis.example:6380', role])
    const hash = createHash('sha256').update(url.password).digest('hex')
    expect(files['redis/users.acl']).toMatch(new RegExp(`^user ${role} on .* #${hash}$`, 'm'))
    return url.password
  })
  expect(new Set(passwords).size).toBe(roles.length)
  for (const password of passwords) {
    expect(password).toMatch(/^[\w-]{32}$/)
    expect(files['redis/users.acl']).not.toContain(password)
  }
  expect(files['redis/users.acl']).toMatch(/^user default off /m)
  expect(files['redis/users.acl']).not.toMatch(/^#|^\s/m)
})

/** The modes of all below a folder, by whether it is a file, each once. */
async function modesOf(dir: string): Promise<{ files: string[]; folders: string[] }> {
  const found = await readdir(dir, { recursive: true, withFileTypes: true })
  const modes = async (entries: typeof found) => {
    const all = entries.map(async ({ parentPath, name }) => (await stat(join(parentPath, name))).mode & 0o777)
    return [...new Set((await Promise.all(all)).map((mode) => mode.toString(8)))]
  }
  return {
    files: await modes(found.filter((entry) => entry.isFile())),
    folders: await modes(found.filter((entry) => entry.isDirectory())),
  }
}

test('what make-secrets makes can be read by its maker alone, whatever the umask and whatever it was before', async () => {
  const dir = await folder()
  const out = join(dir, 'out')
  const make = (umask: string, ...args: string[]) => {
    const command = `umask ${umask} && exec "$0" "$@"`
    const words = [process.execPath, join(OPS, 'make-secrets.ts'), ...args, join(OPS, 'redis.acl'), out]
    expect(spawnSync('sh', ['-c', command, ...words], { encoding: 'utf8' })).toMatchObject({
      status: 0,
      stderr: '',
    })
  }
  make('000')
  expect(await modesOf(out)).toEqual({ files: ['400'], folders: ['700'] })
  expect((await stat(out)).mode & 0o777).toBe(0o700)
  // A folder that was there, and files of an earlier version, or of a run that was killed.
  await chmod(dir, 0o755)
  await chmod(join(out, 'worker'), 0o755)
  await chmod(join(out, 'worker', 'redis.env'), 0o444)
  await writeFile(join(out, 'redis', 'users.acl.new'), 'half', { mode: 0o444 })
  make('022')
  expect(await modesOf(out)).toEqual({ files: ['400'], folders: ['700'] })
  expect((await stat(dir)).mode & 0o777).toBe(0o755)
})

test('in container volumes whoever mounts a folder can read it, and a secret of somebody else stays as it is', async () => {
  const dir = await folder()
  await mkdir(join(dir, 'gateway'))
  await writeFile(join(dir, 'gateway', 'bearer'), 'mine\n', { mode: 0o440 })
  const words = ['-c', 'umask 077 && exec "$0" "$@"', process.execPath, join(OPS, 'make-secrets.ts')]
  const made = spawnSync('sh', [...words, '--volumes', join(OPS, 'redis.acl'), dir], { encoding: 'utf8' })
  expect(made).toMatchObject({ status: 0, stderr: '' })
  const { files } = await modesOf(dir)
  expect(files.toSorted()).toEqual(['440', '444'])
  expect(await readFile(join(dir, 'gateway', 'bearer'), 'utf8')).toBe('mine\n')
  expect((await stat(join(dir, 'gateway'))).mode & 0o777).toBe(0o755)
})

test('make-secrets changes nothing that is there, but follows a new ACL file', async () => {
  const dir = await folder()
  const acl = join(dir, 'redis.acl')
  await writeFile(acl, '# who\nuser default off resetpass\n\nuser reader off\n  +get\n  ~a:*\n')
  const out = join(dir, 'out')
  expect(makeSecrets(acl, out).status).toBe(0)
  const before = await contentsOf(out)
  expect(before['redis/users.acl']).toMatch(
    /^user default off resetpass\nuser reader on \+get ~a:\* #[0-9a-f]{64}\n$/,
  )
  await writeFile(acl, 'user default off resetpass\nuser reader off +get +set ~a:*\n')
  expect(makeSecrets(acl, out).status).toBe(0)
  const after = await contentsOf(out)
  expect(after['redis/users.acl']).toContain(' +get +set ~a:* #')
  expect({ ...after, 'redis/users.acl': '' }).toEqual({ ...before, 'redis/users.acl': '' })
  expect(makeSecrets()).toMatchObject({ status: 2, stderr: expect.stringContaining('expected') })
})

test('is-up exits 0 for an address that answers well, and 1 for anything else', async () => {
  const server = createServer((request, response) => {
    response.statusCode = request.url === '/livez' ? 200 : request.url === '/moved' ? 302 : 503
    response.end()
  })
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as AddressInfo
  const ask = async (path: string) => {
    const [status] = (await once(
      spawn(process.execPath, [join(OPS, 'is-up.ts'), `http://127.0.0.1:${port}${path}`], {
        stdio: 'ignore',
      }),
      'exit',
    )) as [number]
    return status
  }
  expect(await Promise.all(['/livez', '/readyz', '/moved'].map(ask))).toEqual([0, 1, 1])
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
  expect(await ask('/livez')).toBe(1)
})

test('start-tgi gives TGI its key, no empty token, and its arguments as they are', async () => {
  const dir = await folder()
  const [entrypoint, keyFile] = [join(dir, 'entrypoint.sh'), join(dir, 'api_key')]
  await writeFile(
    entrypoint,
    '#!/bin/bash\necho "key=$API_KEY token=${HF_TOKEN-unset}"\nprintf "<%s>" "$@"\n',
  )
  await chmod(entrypoint, 0o755)
  await writeFile(keyFile, 'k-1\n')
  const env = { PATH, API_KEY_FILE: keyFile, TGI_ENTRYPOINT: entrypoint, HF_TOKEN: '' }
  const start = (more: Record<string, string>) =>
    spawnSync('bash', [join(OPS, 'start-tgi.sh'), '--model-id=a b', '--num-shard=2'], {
      env: { ...env, ...more },
      encoding: 'utf8',
    })
  expect(start({}).stdout).toBe('key=k-1 token=unset\n<--model-id=a b><--num-shard=2>')
  expect(start({ HF_TOKEN: 'hf_x' }).stdout).toContain('token=hf_x')
  const without = start({ API_KEY_FILE: join(dir, 'none') })
  expect(without.status).not.toBe(0)
  expect(without.stdout).toBe('')
})

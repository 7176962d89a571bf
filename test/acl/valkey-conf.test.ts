import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Redis } from 'ioredis'
import { expect, onTestFinished, test } from 'vitest'
import { connectToServer } from '../../src/redis/connect.ts'
import { findRedisBinary, freePort, startRedisServer } from '../../src/redis/server.ts'

const OPS = fileURLToPath(new URL('../../ops/', import.meta.url))

/** The words that follow the image's name in compose.yaml, with paths and port of the test. */
async function startWithConf(): Promise<{ port: number; dir: string }> {
  const dir = await mkdtemp(join(tmpdir(), 'tgi-pool-conf-'))
  const made = spawnSync(process.execPath, [join(OPS, 'make-secrets.ts'), join(OPS, 'redis.acl'), dir])
  expect(made.status).toBe(0)
  const port = await freePort()
  const here = ['--port', String(port), '--dir', dir, '--aclfile', join(dir, 'redis', 'users.acl')]
  const server = spawn(findRedisBinary(), [join(OPS, 'valkey.conf'), '--maxmemory', '1gb', ...here], {
    stdio: 'ignore',
  })
  onTestFinished(async () => {
    if (server.exitCode === null) {
      const gone = once(server, 'exit')
      server.kill('SIGKILL')
      await gone
    }
    await rm(dir, { recursive: true, force: true })
  })
  return { port, dir }
}

test('a server starts with ops/valkey.conf and the users that were made; the health user sees it come up', async () => {
  const { port, dir } = await startWithConf()
  const redis = new Redis({
    port,
    username: 'health',
    password: 'any',
    enableReadyCheck: false,
    retryStrategy: () => 50,
    maxRetriesPerRequest: null,
  })
  redis.on('error', () => undefined)
  onTestFinished(() => redis.disconnect())
  expect(await redis.ping()).toBe('PONG')
  await expect(redis.info()).rejects.toThrow('NOPERM')
  expect(await readdir(dir)).toContain('appendonlydir')

  const anonymous = connect(port, '127.0.0.1', () => anonymous.write('GET x\r\n'))
  const [answer] = (await once(anonymous, 'data')) as [Buffer]
  anonymous.destroy()
  expect(answer.toString()).toMatch(/^-NOAUTH/)
})

test('a dump becomes the append-only file of an empty server, and nothing that is there is overwritten', async () => {
  const [from, to] = await Promise.all([1, 2].map(() => mkdtemp(join(tmpdir(), 'tgi-pool-dump-'))))
  onTestFinished(async () => {
    for (const dir of [from, to]) await rm(String(dir), { recursive: true, force: true })
  })
  const restore = () => spawnSync('sh', [join(OPS, 'restore.sh'), join(String(from), 'dump.rdb'), String(to)])
  const old = await startRedisServer({ dir: from })
  const before = await connectToServer(old.url, { role: 'commands' })
  await before.set('kept', 'yes')
  await before.save()
  before.disconnect()
  await old.stop()

  expect(restore().status).toBe(0)
  // A server with a folder of its own keeps an append-only file.
  const restored = await startRedisServer({ dir: to })
  const after = await connectToServer(restored.url, { role: 'commands' })
  expect(await after.get('kept')).toBe('yes')
  await after.set('new', 'too')
  after.disconnect()
  await restored.stop()
  expect(restore().status).toBe(1)
})

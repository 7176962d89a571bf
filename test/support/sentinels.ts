import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Redis } from 'ioredis'
import { expect, onTestFinished } from 'vitest'
import { connectToServer } from '../../src/redis/connect.ts'
import { findRedisBinary, freePort, startRedisServer } from '../../src/redis/server.ts'
import type { RedisServer } from '../../src/redis/server.ts'

/** A primary, its replica and three sentinels that watch them, all on loopback; gone after the test. */
export interface Sentinels {
  /** The address that leads to whoever is the primary. */
  readonly url: string
  readonly primary: RedisServer
  readonly replica: RedisServer
  /** A connection to one server alone. */
  readonly connect: (server: RedisServer) => Promise<Redis>
}

const NAME = 'main'
const COUNT = 3
/** After this silence a sentinel takes the primary for dead (ms). */
const DOWN_MS = 500

/** Starts all of it and resolves when a failover could take place. */
export async function ownSentinels(): Promise<Sentinels> {
  const primary = await startRedisServer({ args: ['--repl-diskless-sync-delay', '0'] })
  onTestFinished(() => primary.stop())
  const replica = await startRedisServer({ args: ['--replicaof', '127.0.0.1', String(primary.port)] })
  onTestFinished(() => replica.stop())
  const lines: Redis[] = []
  async function connect({ url }: { url: string }): Promise<Redis> {
    const line = await connectToServer(url, { role: 'commands' })
    lines.push(line)
    return line
  }
  onTestFinished(() => {
    for (const line of lines) line.disconnect()
  })
  const copy = await connect(replica)
  await expect.poll(() => copy.info('replication'), { timeout: 20_000 }).toContain('master_link_status:up')
  const ports = await Promise.all(Array.from({ length: COUNT }, () => startSentinel(primary.port)))
  for (const port of ports) {
    const line = await connect({ url: `redis://127.0.0.1:${port}` })
    await expect.poll(() => line.call('SENTINEL', 'REPLICAS', NAME)).toHaveLength(1)
    await expect.poll(() => line.call('SENTINEL', 'SENTINELS', NAME)).toHaveLength(COUNT - 1)
    await expect.poll(() => line.call('SENTINEL', 'CKQUORUM', NAME).catch(String)).toMatch(/^OK/)
  }
  const hosts = ports.map((port) => `127.0.0.1:${port}`).join(',')
  return { url: `redis+sentinel://${hosts}/${NAME}`, primary, replica, connect }
}

/** Starts one sentinel and resolves with its port when it answers. */
async function startSentinel(primaryPort: number): Promise<number> {
  const dir = await mkdtemp(join(tmpdir(), 'tgi-pool-sentinel-'))
  const port = await freePort()
  // It keeps what it learns in this file.
  const file = join(dir, 'sentinel.conf')
  const config = [
    `port ${port}`,
    'bind 127.0.0.1',
    `dir ${dir}`,
    `sentinel monitor ${NAME} 127.0.0.1 ${primaryPort} 2`,
    `sentinel down-after-milliseconds ${NAME} ${DOWN_MS}`,
    `sentinel failover-timeout ${NAME} 5000`,
  ]
  await writeFile(file, `${config.join('\n')}\n`)
  const child = spawn(findRedisBinary(), [file, '--sentinel'], { stdio: 'ignore' })
  onTestFinished(async () => {
    await ended(child)
    await rm(dir, { recursive: true, force: true })
  })
  await expect
    .poll(async () => {
      const line = await connectToServer(`redis://127.0.0.1:${port}`, { role: 'commands' }).catch(
        () => undefined,
      )
      line?.disconnect()
      return line !== undefined
    })
    .toBe(true)
  return port
}

async function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGKILL')
  await exited
}

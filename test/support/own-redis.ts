import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { startRedisServer } from '../../src/redis/server.ts'
import type { RedisServer } from '../../src/redis/server.ts'
import { createLab } from './lab.ts'
import type { Lab } from './lab.ts'

/** A Redis of the test's own, which it may ill-treat; `again` starts it anew on its port, with its data. */
export async function startOwnRedis(): Promise<{ server: RedisServer; again: () => Promise<void> }> {
  const dir = await mkdtemp(join(tmpdir(), 'tgi-pool-away-'))
  const servers = [await startRedisServer({ dir })]
  const [server] = servers
  if (server === undefined) throw new Error('no server')
  // The lab, which is made later, is taken down before: it needs its Redis for that.
  onTestFinished(async () => {
    await Promise.all(servers.map((started) => started.stop()))
    await rm(dir, { recursive: true, force: true })
  })
  return { server, again: async () => void servers.push(await startRedisServer({ dir, port: server.port })) }
}

/** A lab on a Redis, taken down when the test is over. */
export async function labOn(url: string): Promise<Lab> {
  const lab = await createLab(url)
  onTestFinished(() => lab.close())
  return lab
}

import { join } from 'node:path'
import { mkdir } from 'node:fs/promises'
import { startRedisServer } from '../../src/redis/server.ts'
import { pause } from './pause.ts'
import type { Interval } from './evidence.ts'
import type { OnProcess } from './journal.ts'

/** The Redis of a run, which may be frozen and killed. */
export interface RedisStage {
  readonly url: string
  readonly port: number
  /** The times in which it was away. */
  readonly away: readonly Interval[]
  readonly isUp: boolean
  /** Stops the process for a time. Resolves when it runs again. */
  freeze(ms: number): Promise<void>
  /** Kills it, and starts it on its port with its data after a time. Resolves when it answers. */
  kill(ms: number): Promise<void>
  stop(): Promise<void>
}

/**
 * Starts a Redis with an append-only file that is synced before every answer: whatever it has acknowledged is there when
 * it is started again, so that no check has to allow for what a server may lose.
 */
export async function startRedisStage(folder: string, onProcess: OnProcess): Promise<RedisStage> {
  const dir = join(folder, 'redis')
  await mkdir(dir)
  const args = ['--appendfsync', 'always']
  let starting = startRedisServer({ dir, args })
  let server = await starting
  onProcess('redis', server.pid)
  const { url, port } = server
  const away: Interval[] = []
  let isUp = true
  let isStopped = false

  async function beAway(work: () => Promise<void>): Promise<void> {
    if (!isUp) return
    isUp = false
    const interval: Interval = { from: Date.now(), to: Infinity }
    away.push(interval)
    await work()
    interval.to = Date.now()
    isUp = true
  }

  return {
    url,
    port,
    away,
    get isUp() {
      return isUp
    },
    freeze: (ms) =>
      beAway(async () => {
        process.kill(server.pid, 'SIGSTOP')
        await pause(ms)
        if (!isStopped) process.kill(server.pid, 'SIGCONT')
      }),
    kill: (ms) =>
      beAway(async () => {
        process.kill(server.pid, 'SIGKILL')
        await server.stop()
        await pause(ms)
        if (isStopped) return
        starting = startRedisServer({ dir, port, args })
        server = await starting
        onProcess('redis', server.pid)
      }),
    async stop() {
      isStopped = true
      await starting
      await server.stop()
    },
  }
}

import { join } from 'node:path'
import { mkdir, truncate } from 'node:fs/promises'
import { connectToServer } from '../../src/redis/connect.ts'
import { startRedisServer } from '../../src/redis/server.ts'
import { watchAppendFile } from './append-file.ts'
import { pause } from './pause.ts'
import type { Interval } from './evidence.ts'
import type { OnProcess } from './journal.ts'

/** How a Redis that runs is made to refuse every write, and how to have it take them again. */
const REFUSALS = {
  OOM: { begin: ['CONFIG', 'SET', 'maxmemory', '1'], end: ['CONFIG', 'SET', 'maxmemory', '0'] },
  // As a primary that another one has replaced; it never finds that one, and keeps its data.
  READONLY: { begin: ['REPLICAOF', '127.0.0.1', '1'], end: ['REPLICAOF', 'NO', 'ONE'] },
  NOREPLICAS: {
    begin: ['CONFIG', 'SET', 'min-replicas-to-write', '1'],
    end: ['CONFIG', 'SET', 'min-replicas-to-write', '0'],
  },
} as const

/** The word that its refusals begin with. */
export type Refusal = keyof typeof REFUSALS

/** All of them. */
export const REFUSAL_KINDS = Object.keys(REFUSALS) as readonly Refusal[]

/** The Redis of a run, which may be frozen, killed and made to refuse. */
export interface RedisStage {
  readonly url: string
  readonly port: number
  /** The times in which it was away, or took no write. */
  readonly away: readonly Interval[]
  /** Times of which it keeps nothing, though it had answered. */
  readonly lost: readonly Interval[]
  readonly isUp: boolean
  /** Stops the process for a time. Resolves when it runs again. */
  freeze(ms: number): Promise<void>
  /** Has it refuse every write for a time, and answer every read. Resolves when it takes them again. */
  refuse(how: Refusal, ms: number): Promise<void>
  /**
   * Kills it, and starts it on its port with its data after a time: all of it, or all but that of its last `loseMs`.
   * Resolves when it answers.
   */
  kill(ms: number, loseMs?: number): Promise<void>
  stop(): Promise<void>
}

/**
 * Starts a Redis with an append-only file that is synced before every answer: whatever it has acknowledged is there when
 * it is started again, unless it is told to lose it.
 */
export async function startRedisStage(folder: string, onProcess: OnProcess): Promise<RedisStage> {
  const dir = join(folder, 'redis')
  await mkdir(dir)
  const args = ['--appendfsync', 'always', '--auto-aof-rewrite-percentage', '0']
  let starting = startRedisServer({ dir, args })
  let server = await starting
  onProcess('redis', server.pid)
  const { url, port } = server
  const away: Interval[] = []
  const lost: Interval[] = []
  const file = watchAppendFile(join(dir, 'appendonlydir'))
  let isUp = true
  let isStopped = false

  async function beAway(work: () => Promise<void>): Promise<void> {
    if (!isUp) return
    isUp = false
    const interval: Interval = { from: Date.now(), to: Infinity }
    away.push(interval)
    try {
      await work()
    } finally {
      interval.to = Date.now()
      isUp = true
    }
  }

  /** Tells it something over a line that nothing else breaks. */
  async function tell([command, ...words]: readonly [string, ...string[]]): Promise<void> {
    const redis = await connectToServer(url, { role: 'commands' })
    try {
      await redis.call(command, ...words)
    } finally {
      redis.disconnect()
    }
  }

  return {
    url,
    port,
    away,
    lost,
    get isUp() {
      return isUp
    },
    freeze: (ms) =>
      beAway(async () => {
        process.kill(server.pid, 'SIGSTOP')
        await pause(ms)
        if (!isStopped) process.kill(server.pid, 'SIGCONT')
      }),
    refuse: (how, ms) =>
      beAway(async () => {
        await tell(REFUSALS[how].begin)
        await pause(ms)
        if (!isStopped) await tell(REFUSALS[how].end)
      }),
    kill: (ms, loseMs) =>
      beAway(async () => {
        process.kill(server.pid, 'SIGKILL')
        await server.stop()
        const before = loseMs === undefined ? undefined : file.at(Date.now() - loseMs)
        if (before !== undefined) {
          await truncate(before.path, before.bytes)
          lost.push({ from: before.at, to: Date.now() })
        }
        file.forget()
        await pause(ms)
        if (isStopped) return
        starting = startRedisServer({ dir, port, args })
        server = await starting
        // It may have cut a torn end off.
        file.forget()
        onProcess('redis', server.pid)
      }),
    async stop() {
      isStopped = true
      file.stop()
      await starting
      await server.stop()
    },
  }
}

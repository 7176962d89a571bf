import { randomUUID } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test as base } from 'vitest'
import type { PoolClient } from '../../src/client/pool-client.ts'
import type { PoolConfigChange } from '../../src/pool/config-store.ts'
import { startRedisServer } from '../../src/redis/server.ts'
import type { RedisServer, RedisServerOptions } from '../../src/redis/server.ts'
import type { SimulatorOptions } from '../../src/simulator/options.ts'
import type { PoolWorker } from '../../src/worker/worker.ts'
import { createLab } from '../support/lab.ts'
import type { Replica } from '../support/lab.ts'
import { startCli } from './run-cli.ts'
import type { CliOptions, CliResult, CliRun } from './run-cli.ts'

/** A pool of its own for each test, the command line that talks to it, and whatever stands behind it. */
export interface Stage {
  readonly pool: string
  readonly redisUrl: string
  /** Empty at first and gone after the test. */
  readonly dir: string
  /** Runs a command to its end, with TGI_POOL and REDIS_URL set. */
  cli(args: readonly string[], options?: CliOptions): Promise<CliResult>
  /** Starts a command, with TGI_POOL and REDIS_URL set; the test ends it. */
  start(args: readonly string[], options?: CliOptions): CliRun
  /** The pool, which is made if need be, as the library sees it. */
  client(config?: PoolConfigChange): Promise<PoolClient>
  replica(options?: Omit<SimulatorOptions, 'observer'>): Promise<Replica>
  worker(replica: { readonly url: string }, slots?: number): Promise<PoolWorker>
  /** A Redis of the test's own, which may die. */
  redis(options?: RedisServerOptions): Promise<RedisServer>
  /** Called after the test, in whatever state it is left; the last one given first. */
  afterwards(undo: () => unknown): void
  /** A replica and a worker that serve the pool, ready. */
  serve(options?: Omit<SimulatorOptions, 'observer'>): Promise<Replica>
}

/** How long a command that a test has left may take to end by itself (ms). */
const ASKED_MS = 20_000

async function createStage(redisUrl: string): Promise<Stage & { close(): Promise<void> }> {
  const pool = `p-${randomUUID().slice(0, 8)}`
  const lab = await createLab(redisUrl)
  const dir = await mkdtemp(join(tmpdir(), 'tgi-pool-cli-'))
  const runs: CliRun[] = []
  const undo: (() => unknown)[] = []
  const start = (args: readonly string[], options: CliOptions = {}): CliRun => {
    const run = startCli(args, { ...options, env: { REDIS_URL: redisUrl, TGI_POOL: pool, ...options.env } })
    runs.push(run)
    return run
  }
  const worker = (replica: { readonly url: string }, slots = 8) => lab.worker(replica, { pool, slots })
  const client = (config?: PoolConfigChange) => lab.client(config, pool)
  return {
    pool,
    redisUrl,
    dir,
    start,
    cli: (args, options) => start(args, options).over,
    client,
    replica: (options) => lab.replica(options),
    async redis(options) {
      const server = await startRedisServer(options)
      undo.push(() => server.stop())
      return server
    },
    afterwards: (step) => void undo.push(step),
    worker,
    async serve(options) {
      const replica = await lab.replica(options)
      await worker(replica)
      const pools = await client()
      while ((await pools.replicas())[0]?.state !== 'ready')
        await new Promise((resolve) => setTimeout(resolve, 5))
      return replica
    },
    async close() {
      const left = runs.filter((run) => !run.isOver)
      // A demo that is killed leaves its Redis behind: first it is asked.
      for (const run of left) run.kill('SIGTERM')
      const limit = setTimeout(() => left.forEach((run) => run.kill('SIGKILL')), ASKED_MS)
      await Promise.all(runs.map((run) => run.over))
      clearTimeout(limit)
      await lab.close()
      for (const step of undo.toReversed()) await step()
      await rm(dir, { recursive: true, force: true })
      if (left.length > 0)
        throw new Error(`the test has left ${left.length} commands running: ${left[0]?.stderr}`)
    },
  }
}

/** `test` with a Redis for each vitest worker and a `stage` for each test; what the test leaves running fails it. */
export const test = base
  .extend('server', { scope: 'worker' }, async ({}, { onCleanup }): Promise<RedisServer> => {
    const server = await startRedisServer()
    onCleanup(() => server.stop())
    return server
  })
  .extend('stage', async ({ server }, { onCleanup }): Promise<Stage> => {
    const stage = await createStage(server.url)
    onCleanup(() => stage.close())
    return stage
  })

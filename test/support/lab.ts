import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { pino } from 'pino'
import { poolKeys } from '../../src/contract/keys.ts'
import type { PoolConfigChange } from '../../src/pool/config-store.ts'
import { openPool } from '../../src/client/pools.ts'
import type { PoolClient } from '../../src/client/pool-client.ts'
import { connectToShard } from '../../src/redis/connect.ts'
import { describeError } from '../../src/runtime/log.ts'
import type { SimulatorOptions } from '../../src/simulator/options.ts'
import { startSimulator } from '../../src/simulator/server.ts'
import type { Simulator } from '../../src/simulator/server.ts'
import { startWorker } from '../../src/worker/worker.ts'
import type { PoolWorker } from '../../src/worker/worker.ts'
import type { WorkerOptions } from '../../src/worker/worker-options.ts'
import { spawnWorker } from './children.ts'
import type { Child, ChildOptions } from './children.ts'
import { createGauge } from './gauge.ts'
import type { Gauge } from './gauge.ts'
import { test as base } from './redis.ts'

/** The pool that everything belongs to unless told otherwise. */
export const POOL = 'lab'

/** How long workers may take to stop without grace (ms). */
const STOP_MS = 20_000

/** A simulator and what was seen of its requests. */
export interface Replica extends Simulator {
  readonly seen: Gauge
}

/** Makes simulators, workers and clients of one Redis, and takes them down. */
export interface Lab {
  readonly redisUrl: string
  /** For looking at what the code under test did; on a Cluster it leads to the shard of {@link POOL}. */
  readonly redis: Redis
  /** Every line that the workers of this process have logged, at trace level. */
  readonly lines: readonly string[]
  /** A simulator as fast as it goes, without prefill, unless told otherwise. */
  replica(options?: Omit<SimulatorOptions, 'observer'>): Promise<Replica>
  /** A worker that probes its replica ten times a second unless told otherwise. */
  worker(replica: { readonly url: string }, options?: Partial<WorkerOptions>): Promise<PoolWorker>
  /** A worker in a process of its own that serves, with the times of a real one unless told otherwise. */
  process(replica: { readonly url: string }, options?: Partial<ChildOptions>): Promise<Child>
  /** The same, without waiting until it serves. */
  startProcess(replica: { readonly url: string }, options?: Partial<ChildOptions>): Child
  /** A client of the pool, which is made if need be. */
  client(config?: PoolConfigChange, pool?: string): Promise<PoolClient>
  /** Stops all of it: processes, clients, workers without grace, replicas. */
  close(): Promise<void>
}

/** A lab on any Redis; the caller closes it. */
export async function createLab(redisUrl: string): Promise<Lab> {
  const redis = await connectToShard(redisUrl, KEYS.config, { role: 'commands' })
  const lines: string[] = []
  const logger = pino(
    { level: 'trace', serializers: { err: describeError } },
    { write: (line: string) => void lines.push(line) },
  )
  const children: Child[] = []
  const clients: PoolClient[] = []
  const workers: PoolWorker[] = []
  const replicas: Replica[] = []

  function startProcess(replica: { readonly url: string }, options?: Partial<ChildOptions>): Child {
    const child = spawnWorker({
      redisUrl,
      pool: POOL,
      replicaUrl: replica.url,
      graceMs: 20_000,
      ...options,
    })
    children.push(child)
    return child
  }

  return {
    redisUrl,
    redis,
    lines,
    async replica(options) {
      const seen = createGauge()
      const simulator = await startSimulator({ tokensPerSecond: 0, prefillMs: 0, ...options, observer: seen })
      const replica = { ...simulator, seen }
      replicas.push(replica)
      return replica
    },
    async worker(replica, options) {
      const worker = await startWorker({
        redisUrl,
        pool: POOL,
        replicaUrl: replica.url,
        probeMs: 100,
        logger,
        ...options,
      })
      workers.push(worker)
      return worker
    },
    async process(replica, options) {
      const child = startProcess(replica, options)
      await child.hasSaid('worker started')
      return child
    },
    startProcess,
    async client(config, pool = POOL) {
      const client = await openPool({ redisUrl, pool })
      clients.push(client)
      await client.create(config)
      return client
    },
    async close() {
      await Promise.all(children.map((child) => child.end()))
      await Promise.all(clients.map((client) => client.close()))
      const stopped = Promise.all(workers.map((worker) => worker.stop(0)))
      redis.disconnect()
      const late = sleep(STOP_MS, 'late', { ref: false })
      if ((await Promise.race([stopped, late])) === 'late') throw new Error('a worker does not stop')
      // A worker has closed its sockets when it has stopped; its replica hears of it an instant later.
      const open = () => replicas.reduce((sum, replica) => sum + replica.seen.open, 0)
      for (const until = performance.now() + 5000; open() > 0 && performance.now() < until;) await sleep(2)
      const left = open()
      await Promise.all(replicas.map((replica) => replica.stop()))
      if (left > 0) throw new Error(`workers that have stopped left ${left} requests open on their replicas`)
    },
  }
}

/** `test` with a `lab` on the vitest worker's own Redis; what the test leaves open fails it. */
export const test = base.extend('lab', async ({ redis }, { onCleanup }): Promise<Lab> => {
  const lab = await createLab(redis.url)
  onCleanup(() => lab.close())
  return lab
})

/** The keys of the lab's pool. */
export const KEYS = poolKeys(POOL)

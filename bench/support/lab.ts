import { setTimeout as sleep } from 'node:timers/promises'
import { openPool } from '../../src/client/pools.ts'
import type { PoolClient } from '../../src/client/pool-client.ts'
import { newJobId } from '../../src/contract/ids.ts'
import { poolKeys } from '../../src/contract/keys.ts'
import type { PoolKeys } from '../../src/contract/keys.ts'
import { connectToServer } from '../../src/redis/connect.ts'
import type { ConnectionRole } from '../../src/redis/connect.ts'
import { startRedisServer } from '../../src/redis/server.ts'
import { createLogger } from '../../src/runtime/log.ts'
import { createTgiClient } from '../../src/tgi/client.ts'
import type { TgiClient } from '../../src/tgi/client.ts'
import { startWorker } from '../../src/worker/worker.ts'
import type { PoolWorker } from '../../src/worker/worker.ts'
import { createSealWatch } from './seal-watch.ts'
import { startSimulatorProcess } from './simulator-process.ts'
import type { SimulatorProcess, SimulatorSettings } from './simulator-process.ts'

type Connection = Awaited<ReturnType<typeof connectToServer>>

/** All that a bench needs round the code it measures. Redis (append-only off) and simulator are processes of their own. */
export interface Lab {
  readonly redisUrl: string
  readonly keys: PoolKeys
  readonly simulator: SimulatorProcess
  /** A producer. */
  readonly pool: PoolClient
  /** A bare TGI client, for baselines. */
  readonly tgi: TgiClient
  /** A connection that is closed with the lab. */
  connect(role: ConnectionRole): Promise<Connection>
  /** A worker in this process, resolved when it takes jobs; stopped with the lab unless that was done before. */
  startWorker(slots: number): Promise<PoolWorker>
  /** Enqueues a job whose request the simulator knows by the job's id. */
  enqueue(jobId: string, maxNewTokens: number): Promise<void>
  /** Resolves when the job has its terminal event; ask before it can have one. */
  sealed(jobId: string): Promise<void>
}

/** A prompt of everyday length that carries a tag for the simulator. */
export function taggedPrompt(tag: string): string {
  return `[tag:${tag}] Tell me a short story about a river and an old lantern. The river`
}

/** A new job id. */
export const newTag = newJobId

const standing = new Set<() => Promise<void>>()

/** Takes down what stands, under the feet of those who work in it: for a process that is about to exit. */
export async function takeDownLabs(): Promise<void> {
  await Promise.allSettled([...standing].map((takeDown) => takeDown()))
}

/** Builds a lab, runs `work` in it and takes it down again, whatever happens. */
export async function withLab<T>(settings: SimulatorSettings, work: (lab: Lab) => Promise<T>): Promise<T> {
  const undo: (() => Promise<void> | void)[] = []
  let taken: Promise<void> | undefined
  // Once: who interrupts has to wait for the release that is under way, not to find the list empty.
  const takeDown = () =>
    (taken ??= (async () => {
      for (let release = undo.pop(); release !== undefined; release = undo.pop()) await release()
    })())
  const owned = <R>(thing: R, release: (thing: R) => Promise<void> | void): R => {
    undo.push(() => release(thing))
    return thing
  }
  standing.add(takeDown)
  try {
    return await work(await build(settings, owned))
  } finally {
    await takeDown()
    standing.delete(takeDown)
  }
}

type Owned = <R>(thing: R, release: (thing: R) => Promise<void> | void) => R

async function build(settings: SimulatorSettings, owned: Owned): Promise<Lab> {
  const redis = owned(await startRedisServer(), (server) => server.stop())
  const simulator = owned(await startSimulatorProcess(settings), (child) => child.stop())
  const pool = owned(await openPool({ redisUrl: redis.url, pool: 'bench' }), (client) => client.close())
  await pool.create({ max_max_new_tokens: 1_000_000 })
  const keys = poolKeys('bench')
  const connect = async (role: ConnectionRole) =>
    owned(await connectToServer(redis.url, { role }), (connection) => connection.disconnect())
  const seals = await createSealWatch(await connect('blocking'), keys)
  return {
    redisUrl: redis.url,
    keys,
    simulator,
    pool,
    tgi: owned(createTgiClient({ url: simulator.url }), (client) => client.close()),
    connect,
    async startWorker(slots) {
      const worker = await startWorker({
        redisUrl: redis.url,
        pool: 'bench',
        replicaUrl: simulator.url,
        slots,
        logger: createLogger('bench', 'error'),
      })
      owned(worker, () => worker.stop(0))
      while (worker.state !== 'ready') await sleep(2)
      return worker
    },
    async enqueue(jobId, maxNewTokens) {
      await pool.enqueue(
        { inputs: taggedPrompt(jobId), parameters: { max_new_tokens: maxNewTokens } },
        { jobId },
      )
    },
    sealed: seals.wait,
  }
}

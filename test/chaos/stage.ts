import { createWriteStream } from 'node:fs'
import type { WriteStream } from 'node:fs'
import { join } from 'node:path'
import type { Redis } from 'ioredis'
import { openPool } from '../../src/client/pools.ts'
import type { PoolClient } from '../../src/client/pool-client.ts'
import { poolKeys } from '../../src/contract/keys.ts'
import { connectToServer, disconnectRedis } from '../../src/redis/connect.ts'
import { startProxy } from '../support/proxy.ts'
import type { Proxy } from '../support/proxy.ts'
import type { OverloadEvidence, Violation } from './evidence.ts'
import type { OnProcess } from './journal.ts'
import type { ChaosOptions } from './options.ts'
import type { Victims } from './perform-fault.ts'
import { startRedisStage } from './redis-stage.ts'
import { POISONS } from './job-mix.ts'
import type { SimulatorProcess } from './simulator-process.ts'
import { startSimulatorProcess } from './simulator-process.ts'
import type { WorkerPlace } from './worker-process.ts'
import { allServe, openWorkerPlace } from './worker-process.ts'

/** The pool of a run. */
export const KEYS = poolKeys('chaos')

/**
 * Interruptions a job survives: more than most jobs meet, so that what ends otherwise stands out. BullMQ gives a job up
 * after ten dead workers, whatever we say, and our own count is to come first.
 */
export const MAX_ATTEMPTS = 10

const SLOTS = 6
/** Answers last seconds, so that faults meet them in the middle. */
const TOKENS_PER_SECOND = 70
const SHORT_TIMES = { lockMs: 1000, stalledIntervalMs: 300, leaseMs: 1000 }
const REAL_LOCK_MS = 5000
const LOSSY_DEADLINE_MS = 45_000
/** What the simulator says it is; one that drifts takes no jobs then. */
const PIN = { engine_version: '3.3.6-dev0+sim', model_id: 'simulated/tiny-llm' }

/** Everything that runs, and what was seen of it. */
export interface Stage extends Victims {
  readonly lockMs: number
  readonly producer: PoolClient
  /** Some lead to Redis directly, some over a line that breaks. */
  readonly consumers: readonly PoolClient[]
  readonly overloads: readonly OverloadEvidence[]
  /** Processes that ended as nobody had told them to. */
  readonly faults: readonly Violation[]
  /** Ends everything, last what others need; nothing is left. */
  close(): Promise<void>
}

/** How many replicas so many workers serve; the others stand by. */
export function replicasFor(workers: number): number {
  return Math.max(2, Math.ceil((workers * 2) / 3))
}

/** Starts Redis, simulators, workers and clients, in that order, and resolves when every worker serves. */
export async function openStage(
  options: ChaosOptions,
  folder: string,
  onProcess: OnProcess,
  signal: AbortSignal,
): Promise<Stage> {
  const closing: (() => unknown)[] = []
  const close = async (): Promise<void> => {
    for (let step = closing.pop(); step !== undefined; step = closing.pop()) await step()
  }
  try {
    return { ...(await build(options, folder, onProcess, signal, (step) => void closing.push(step))), close }
  } catch (error) {
    await close()
    throw error
  }
}

/** Builds it up; what is told to `later` is done in reverse when it is taken down. */
async function build(
  options: ChaosOptions,
  folder: string,
  onProcess: OnProcess,
  signal: AbortSignal,
  later: (step: () => unknown) => void,
): Promise<Omit<Stage, 'close'>> {
  const overloads: OverloadEvidence[] = []
  const faults: Violation[] = []
  const redisStage = await startRedisStage(folder, onProcess)
  later(() => redisStage.stop())
  const redis: Redis = await connectToServer(redisStage.url, { role: 'commands' })
  later(() => disconnectRedis(redis))
  const line = async (): Promise<Proxy> => {
    const proxy = await startProxy(redisStage.port)
    later(() => proxy.close())
    return proxy
  }

  const simulators: SimulatorProcess[] = []
  for (let n = 0; n < replicasFor(options.workers); n += 1) {
    const settings = { slots: SLOTS, tokensPerSecond: TOKENS_PER_SECOND, prefillMs: 20, faults: POISONS }
    const onOverload = (seen: OverloadEvidence) => void overloads.push(seen)
    const simulator = await startSimulatorProcess(`sim-${n}`, settings, onOverload, onProcess)
    later(() => simulator.end())
    simulators.push(simulator)
  }

  const producer = await openPool({ redisUrl: redisStage.url, pool: KEYS.pool })
  later(() => producer.close())
  await producer.create({
    max_attempts: MAX_ATTEMPTS,
    first_token_timeout_ms: 4000,
    token_timeout_ms: 2500,
    // A job of which Redis keeps the stream and has lost the place in the queue is over by its deadline.
    ...(options.lossy ? { deadline_ms: LOSSY_DEADLINE_MS } : {}),
    retention_ms: Math.round(options.minutes * 60_000) + 3_600_000,
    pin: PIN,
  })
  const consumerLine = await line()
  const consumers: PoolClient[] = []
  for (const redisUrl of [redisStage.url, redisStage.url, consumerLine.url]) {
    const consumer = await openPool({ redisUrl, pool: KEYS.pool })
    later(() => consumer.close())
    consumers.push(consumer)
  }

  const workers: WorkerPlace[] = []
  const workerLines: Proxy[] = []
  for (let n = 0; n < options.workers; n += 1) {
    const simulator = simulators[n % simulators.length]
    if (simulator === undefined) throw new Error('no simulator')
    const workerLine = await line()
    workerLines.push(workerLine)
    const output = openOutput(join(folder, `worker-${n}.log`), later)
    const order = {
      redisUrl: workerLine.url,
      pool: KEYS.pool,
      replicaUrl: simulator.url,
      replicaId: simulator.replicaId,
      slots: SLOTS,
      graceMs: options.shortLocks ? 1000 : 3000,
      times: options.shortLocks ? SHORT_TIMES : undefined,
    }
    const worker = openWorkerPlace(order, {
      output,
      onProcess,
      onFault: (message) => void faults.push({ check: 'process', message }),
    })
    later(() => worker.end())
    workers.push(worker)
  }
  await allServe(workers, signal)
  const lockMs = options.shortLocks ? SHORT_TIMES.lockMs : REAL_LOCK_MS
  return {
    redisStage,
    redis,
    simulators,
    producer,
    consumers,
    consumerLine,
    workers,
    workerLines,
    lockMs,
    overloads,
    faults,
  }
}

function openOutput(path: string, later: (step: () => unknown) => void): WriteStream {
  const output = createWriteStream(path)
  later(() => new Promise<void>((resolve) => output.end(() => resolve())))
  return output
}

import type { Redis } from 'ioredis'
import { createAdmissionBound } from '../../../src/client/admission-bound.ts'
import { watchMemory } from '../../../src/client/memory-watch.ts'
import type { PoolKeys } from '../../../src/contract/keys.ts'
import { gatedLog } from './attempts.ts'
import type { AttemptWorld } from './attempts.ts'
import { isInjected } from './gates.ts'

/** What producers, cancellers and sweepers work on. */
export interface PartyWorld extends Omit<AttemptWorld, 'pool'> {
  readonly redis: Redis
  readonly keys: PoolKeys
}

/** When a cancel returned: in which era, and after how many landings. */
export interface Cancelled {
  readonly era: number
  readonly landed: number
}

/** How long streams live after their seal, for those who seal without a pool's config (ms). */
export const RETENTION_MS = 3_600_000
/** As often as a caller tries again what a broken line has broken. */
const TRIES = 20

/** A producer enqueues the job, until it is accepted or somebody else's. */
export async function enqueue(world: PartyWorld): Promise<void> {
  const { redis, keys, modules, queues, jobId, priority } = world
  const bound = createAdmissionBound()
  const forecast = { predict: async () => undefined }
  const memory = watchMemory(async () => undefined)
  const log = gatedLog(world, 'producer', true)
  const ports = { redis, keys, log, queue: queues.port, bound, memory, forecast }
  await retry(() => modules.enqueueJob(ports, { inputs: 'x', priority }, { jobId })).catch(
    (error: unknown) => {
      // A worker may have had the job from another producer before.
      if (kindOf(error) !== 'ID_CONFLICT') throw error
    },
  )
}

/** Somebody cancels the job; undefined when there was none. */
export async function cancel(world: PartyWorld): Promise<Cancelled | undefined> {
  const { modules, keys, redis, landings, queues, jobId } = world
  const existed = (await redis.exists(keys.events(jobId))) === 1
  const { era } = landings
  const log = gatedLog(world, 'canceller', true)
  const request = { log, queue: queues.port, pool: keys.pool, jobId, retentionMs: RETENTION_MS }
  try {
    await retry(() => modules.cancelJob(request))
    return { era: landings.era, landed: landings.all.length }
  } catch (error) {
    if (kindOf(error) !== 'UNKNOWN_JOB' || (existed && era === landings.era)) throw error
    return undefined
  }
}

/** The deadline passes, and somebody looks. */
export async function sweep(world: PartyWorld): Promise<void> {
  const { modules, keys, redis, queues, jobId } = world
  await redis.zadd(keys.deadlines, 'XX', 1, jobId)
  const log = gatedLog(world, 'sweeper', true)
  await retry(() =>
    modules.sweepDeadlines({ redis, log, queue: queues.port, keys, retentionMs: RETENTION_MS }),
  )
}

async function retry<T>(call: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await call()
    } catch (error) {
      if (!isInjected(error) || tries >= TRIES) throw error
    }
  }
}

function kindOf(error: unknown): unknown {
  return error instanceof Error && 'kind' in error ? error.kind : undefined
}

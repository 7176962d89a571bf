import type { Redis } from 'ioredis'
import type { PoolKeys } from '../../src/contract/keys.ts'
import { listenForSeals } from '../../src/stream/wake-ups.ts'

/** Tells when jobs are over without reading their streams: a message a job. */
export interface SealWatch {
  /** Resolves at the seal. Only seals after the watch was made are seen. */
  readonly wait: (jobId: string) => Promise<void>
}

/** Starts to watch a pool on a connection of its own. */
export async function createSealWatch(redis: Redis, keys: PoolKeys): Promise<SealWatch> {
  const waiting = new Map<string, PromiseWithResolvers<void>>()
  const slot = (jobId: string): PromiseWithResolvers<void> => {
    let found = waiting.get(jobId)
    if (found === undefined) {
      found = Promise.withResolvers<void>()
      waiting.set(jobId, found)
    }
    return found
  }
  await listenForSeals({
    redis,
    keys,
    onSealed: (jobId) => slot(jobId).resolve(),
    onSubscribed: () => undefined,
  })
  return { wait: (jobId) => slot(jobId).promise }
}

import type { PoolKeys } from '../contract/keys.ts'
import { readDeletion } from '../pool/deletion.ts'
import type { RedisConnection } from '../redis/connect.ts'

/** Detects that a worker's pool was deleted. */
export interface DeletionWatch {
  /** Checks Redis, on every heartbeat and wake-up. Resolves to whether the pool was deleted. Never rejects. */
  look(): Promise<boolean>
  /** Whether the pool was deleted, according to the last check. */
  readonly isDeleted: boolean
  /** Resolves when the pool was deleted. */
  readonly deleted: Promise<void>
}

/** Starts to watch. If the mark cannot be read, the pool counts as existing. */
export function createDeletionWatch(redis: RedisConnection, keys: PoolKeys): DeletionWatch {
  const { promise: deleted, resolve } = Promise.withResolvers<void>()
  let isDeleted = false
  return {
    deleted,
    get isDeleted() {
      return isDeleted
    },
    async look() {
      const deletion = await readDeletion(redis, keys).catch(() => undefined)
      isDeleted ||= deletion !== undefined
      if (isDeleted) resolve()
      return isDeleted
    },
  }
}

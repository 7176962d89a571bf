import type { PoolKeys } from '../contract/keys.ts'
import { readDeletion } from '../pool/deletion.ts'
import type { RedisConnection } from '../redis/connect.ts'

/** Sees that a worker's pool was deleted. */
export interface DeletionWatch {
  /** Looks in Redis, for every beat and every wake-up. Resolves to whether the pool was deleted. Never rejects. */
  look(): Promise<boolean>
  /** Whether the pool was deleted, as far as is known. */
  readonly isDeleted: boolean
  /** Resolves when the pool was deleted. */
  readonly deleted: Promise<void>
}

/** Begins to watch. A pool whose mark cannot be read counts as there. */
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

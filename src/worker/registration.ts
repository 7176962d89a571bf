import type { PoolKeys } from '../contract/keys.ts'
import type { ReplicaEntry } from '../contract/replica-entry.ts'
import type { RedisConnection } from '../redis/connect.ts'
import { REGISTRY_BEAT_MS, publishReplica, withdrawReplica } from '../replica/registry.ts'

/** What a worker says of its replica, and where. */
export interface RegistrationOptions {
  readonly redis: RedisConnection
  readonly keys: PoolKeys
  /** The entry as it is now. */
  readonly entry: () => Omit<ReplicaEntry, 'updated_at'>
  readonly onError: (error: unknown) => void
}

/** A worker's entry in the registry, kept up to date. */
export interface Registration {
  /** Says it now, too. */
  publish(): Promise<void>
  /** Takes the entry out, after everything that was being said. Idempotent. */
  withdraw(): Promise<void>
}

/** Registers a worker and says how it is on a beat. One write at a time: an old word never overtakes a new one. */
export function startRegistration(options: RegistrationOptions): Registration {
  const { redis, keys } = options
  let last: Promise<void> = Promise.resolve()
  let again = false
  let over = false

  function publish(): Promise<void> {
    // What waits already will say the newest.
    if (again || over) return last
    again = true
    last = last.then(async () => {
      again = false
      if (!over) await publishReplica(redis, keys, options.entry()).catch(options.onError)
    })
    return last
  }

  const beat = setInterval(() => void publish(), REGISTRY_BEAT_MS)
  return {
    publish,
    async withdraw() {
      over = true
      clearInterval(beat)
      await last
      await withdrawReplica(redis, keys, options.entry())
    },
  }
}

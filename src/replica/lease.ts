import type { PoolKeys } from '../contract/keys.ts'
import { AT_LIMIT } from '../redis/at-limit.ts'
import type { RedisConnection } from '../redis/connect.ts'

/**
 * The right of one worker to one replica. Only its holder opens requests on the replica, so a replica never has
 * more open than its worker's slots. Trust in it ends before the lease does, counted from when the renewal was
 * sent: a holder that cannot reach Redis closes its requests before another worker can take over.
 */
export interface LeaseOptions {
  readonly redis: RedisConnection
  readonly keys: PoolKeys
  readonly replicaId: string
  readonly workerId: string
  /** How long it lasts unrenewed (ms). */
  readonly leaseMs: number
  readonly onGained: () => void
  /** Called once for each wait, when another worker holds the lease. */
  readonly onStandby?: (() => void) | undefined
  /** The worker must close every request on the replica now. */
  readonly onLost: () => void
  readonly onError: (error: unknown) => void
}

/** A lease that is being held, or waited for. */
export interface Lease {
  readonly held: boolean
  /** Gives it up, so that a standby takes over at once. Idempotent. */
  release(): Promise<void>
}

/** KEYS[1] lease; ARGV[1] worker id; ARGV[2] ms. Returns 1: held by this worker now; 0: held by another. */
const ACQUIRE = `${AT_LIMIT}
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1`

/** KEYS[1] lease; ARGV[1] worker id. Deletes it if it is this worker's. Returns 1 deleted, 0 not. */
const RELEASE = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])`

/** The part of a lease's time in which it is trusted. */
const TRUST = 0.9

/** Begins to acquire and renew a lease. */
export function startLease(options: LeaseOptions): Lease {
  const { redis, keys, replicaId, workerId, leaseMs } = options
  const key = keys.lease(replicaId)
  let held = false
  let waiting = false
  let released: Promise<void> | undefined
  let expiry: NodeJS.Timeout | undefined

  function lose(): void {
    clearTimeout(expiry)
    if (!held) return
    held = false
    options.onLost()
  }

  async function renew(): Promise<void> {
    const from = performance.now()
    const answer = await redis.eval(ACQUIRE, 1, key, workerId, leaseMs)
    if (released !== undefined) return
    if (answer !== 1) {
      lose()
      if (!waiting) options.onStandby?.()
      waiting = true
      return
    }
    waiting = false
    clearTimeout(expiry)
    expiry = setTimeout(lose, Math.max(0, from + leaseMs * TRUST - performance.now()))
    if (held) return
    held = true
    options.onGained()
  }

  const beat = () => void renew().catch((error: unknown) => options.onError(error))
  const timer = setInterval(beat, leaseMs / 4)
  beat()
  return {
    get held() {
      return held
    },
    release() {
      released ??= (async () => {
        clearInterval(timer)
        clearTimeout(expiry)
        held = false
        await redis.eval(RELEASE, 1, key, workerId)
      })()
      return released
    },
  }
}

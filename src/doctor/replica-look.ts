import type { PoolKeys } from '../contract/keys.ts'
import { redactUrl } from '../redis/address.ts'
import type { RedisConnection } from '../redis/connect.ts'
import { createTgiClient } from '../tgi/client.ts'
import { engineVersion } from '../tgi/info.ts'

/** The lease on a replica. */
export interface LeaseLook {
  /** The worker that has it. */
  readonly holder: string
  /** How long it lasts (ms); undefined when it never ends. */
  readonly ttlMs: number | undefined
}

/** Whether a replica answers from here, and as whom. */
export type ReachLook =
  | { readonly reached: true; readonly engineVersion: string; readonly modelId: string }
  | { readonly reached: false; readonly reason: string }

/** A replica's address without its credentials, as people write it. */
export function showAddress(url: string): string {
  return redactUrl(url).replace(/\/$/, '')
}

/** Reads the lease on a replica; undefined if no worker holds it. */
export async function lookAtLease(
  redis: RedisConnection,
  keys: PoolKeys,
  replicaId: string,
): Promise<LeaseLook | undefined> {
  const key = keys.lease(replicaId)
  const [holder, ttlMs] = await Promise.all([redis.get(key), redis.pttl(key)])
  // -2: gone between the two questions.
  if (holder === null || ttlMs === -2) return undefined
  return { holder, ttlMs: ttlMs < 0 ? undefined : ttlMs }
}

/** Asks a replica for `/health` and `/info`, each for at most `timeoutMs`. Never rejects. */
export async function reach(url: string, apiKey: string | undefined, timeoutMs: number): Promise<ReachLook> {
  try {
    const client = createTgiClient({ url, apiKey, connectTimeoutMs: timeoutMs })
    try {
      const [, info] = await Promise.all([client.health({ timeoutMs }), client.info({ timeoutMs })])
      return { reached: true, engineVersion: engineVersion(info), modelId: info.modelId }
    } finally {
      await client.close()
    }
  } catch (error) {
    return { reached: false, reason: error instanceof Error ? error.message : String(error) }
  }
}

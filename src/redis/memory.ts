import { Cluster } from 'ioredis'
import { primaryOf } from './cluster.ts'
import type { RedisConnection } from './connect.ts'
import { isConnectionError } from './fault.ts'

/** How much memory a server uses, of how much (bytes). */
export interface MemoryUse {
  /** As Redis counts it against the limit: without buffers of replicas and of the append-only file. */
  readonly used: number
  /** Its `maxmemory`. */
  readonly max: number
}

/**
 * The memory of a server; on a Cluster, of the primary that has `key`. Undefined where Redis refuses no writes for it: without
 * `maxmemory`, or when it evicts keys instead. Undefined also where the server does not say, as some managed ones do not.
 */
export async function readMemory(redis: RedisConnection, key: string): Promise<MemoryUse | undefined> {
  const node = redis instanceof Cluster ? primaryOf(redis, key) : redis
  const info = await node?.info('memory').catch((error: unknown) => {
    if (isConnectionError(error)) throw error
    return undefined
  })
  return info === undefined ? undefined : parseMemory(info)
}

/** Reads the answer of INFO memory. */
export function parseMemory(info: string): MemoryUse | undefined {
  const policy = /^maxmemory_policy:(\S+)/m.exec(info)?.[1]
  const [used, max] = [numberOf(info, 'used_memory'), numberOf(info, 'maxmemory')]
  if (!used || !max || (policy !== undefined && policy !== 'noeviction')) return undefined
  return { used: used - (numberOf(info, 'mem_not_counted_for_evict') ?? 0), max }
}

function numberOf(info: string, name: string): number | undefined {
  const digits = new RegExp(`^${name}:(\\d+)`, 'm').exec(info)?.[1]
  return digits === undefined ? undefined : Number(digits)
}

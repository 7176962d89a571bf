import { PoolError } from '../contract/error.ts'
import type { PoolKeys } from '../contract/keys.ts'
import type { RedisConnection } from '../redis/connect.ts'
import { listReplicas } from '../replica/registry.ts'
import { addressKey } from '../tgi/address.ts'

/** A worker that is about to serve a replica under an id. */
export interface ClaimedAddress {
  readonly replicaId: string
  /** Without credentials. */
  readonly url: string
}

/**
 * The different address that another live worker serves under the same replica id; undefined if there is none. Only one of the two
 * would be served, since the second worker stands by. They may still be one server with two names.
 */
export async function findOtherAddress(
  redis: RedisConnection,
  keys: PoolKeys,
  { replicaId, url }: ClaimedAddress,
): Promise<string | undefined> {
  const entries = await listReplicas(redis, keys)
  const holder = entries.find(({ replica_id: id, state }) => id === replicaId && state !== 'standby')
  if (holder === undefined || holder.state === 'lost') return undefined
  return addressKey(holder.url) === addressKey(url) ? undefined : holder.url
}

/** Such an address is an error if our id is a default one: default ids never collide, so the other id was set by hand. */
export function sharedIdError({ replicaId, url }: ClaimedAddress, other: string): PoolError {
  return new PoolError(
    'CONFIG',
    `replica id ${replicaId}: expected one address, ${url}, but another worker serves ${other} under this id. Give each replica its own --replica-id`,
  )
}

import { formatIssues } from '../contract/format-issues.ts'
import { replicaIdSchema } from '../contract/ids.ts'
import type { PoolKeys } from '../contract/keys.ts'
import { replicaEntrySchema } from '../contract/replica-entry.ts'
import type { ReplicaEntry, Versions } from '../contract/replica-entry.ts'
import { AT_LIMIT } from '../redis/at-limit.ts'
import { redisTimeMs } from '../redis/connect.ts'
import type { RedisConnection } from '../redis/connect.ts'

/** A worker says this often how its replica is (ms). */
export const REGISTRY_BEAT_MS = 1000
/** A standby that has not reported for this long is gone; a lease holder is gone when its lease is. */
const STANDBY_TTL_MS = 5000

/** The field of an entry: the replica for the worker that holds its lease, with the worker for one that stands by. */
function fieldOf(entry: Pick<ReplicaEntry, 'replica_id' | 'worker_id' | 'state'>): string {
  return entry.state === 'standby' ? `${entry.replica_id}@${entry.worker_id}` : entry.replica_id
}

/** KEYS[1] registry; ARGV[1] field, ARGV[2] entry, ARGV[3] a field that goes, if given. */
const PUBLISH = `${AT_LIMIT}
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
if ARGV[3] then redis.call('HDEL', KEYS[1], ARGV[3]) end`

/** Writes what a worker says of its replica. */
export async function publishReplica(
  redis: RedisConnection,
  keys: PoolKeys,
  entry: Omit<ReplicaEntry, 'updated_at'>,
): Promise<void> {
  const whole: ReplicaEntry = { ...entry, updated_at: await redisTimeMs(redis, keys.config) }
  const standby = entry.state === 'standby' ? [] : [fieldOf({ ...entry, state: 'standby' })]
  await redis.eval(PUBLISH, 1, keys.replicas, fieldOf(entry), JSON.stringify(whole), ...standby)
}

/** KEYS[1] registry; ARGV[1], ARGV[2] fields; ARGV[3] what an entry of this worker contains. Deletes only those. */
const WITHDRAW = `
for i = 1, 2 do
  local entry = redis.call('HGET', KEYS[1], ARGV[i])
  if entry and string.find(entry, ARGV[3], 1, true) then redis.call('HDEL', KEYS[1], ARGV[i]) end
end`

/** Takes a worker's entry out: it left in good order. What another worker says of the same replica stays. */
export async function withdrawReplica(
  redis: RedisConnection,
  keys: PoolKeys,
  entry: Pick<ReplicaEntry, 'replica_id' | 'worker_id'>,
): Promise<void> {
  const fields = (['ready', 'standby'] as const).map((state) => fieldOf({ ...entry, state }))
  const mine = `"worker_id":${JSON.stringify(entry.worker_id)}`
  await redis.eval(WITHDRAW, 1, keys.replicas, ...fields, mine)
}

/**
 * Every replica of a pool, by id, standbys after the worker they stand by for. A replica whose lease is gone
 * though its worker never left has state `lost`. So has one whose entry cannot be read, with the fault as its reason and an empty
 * `url`: one bad entry must not hide the others.
 */
export async function listReplicas(redis: RedisConnection, keys: PoolKeys): Promise<ReplicaEntry[]> {
  const fields = await redis.hgetall(keys.replicas)
  const entries = Object.entries(fields).flatMap(([field, text]) => parseReplicaEntry(field, text) ?? [])
  const now = await redisTimeMs(redis, keys.config)
  const seen = await Promise.all(
    entries.map(async (entry): Promise<ReplicaEntry | undefined> => {
      if (isUnreadable(entry)) return entry
      if (entry.state === 'standby') return now - entry.updated_at < STANDBY_TTL_MS ? entry : undefined
      if ((await redis.get(keys.lease(entry.replica_id))) === entry.worker_id) return entry
      return { ...entry, state: 'lost', reason: 'its worker went away without a word', busy: 0 }
    }),
  )
  return seen.filter((entry) => entry !== undefined).toSorted((a, b) => compare(fieldOf(a), fieldOf(b)))
}

/** The replicas whose lease a worker holds, by id, whatever their entries say. */
export async function listLeased(redis: RedisConnection, keys: PoolKeys): Promise<string[]> {
  const fields = await redis.hkeys(keys.replicas)
  const ids = [...new Set(fields.map((field) => field.split('@')[0] ?? ''))].toSorted()
  const leases = await Promise.all(ids.map((id) => redis.exists(keys.lease(id))))
  return ids.filter((_, index) => leases[index] === 1)
}

/** How long a dead worker is expected to come back (ms). */
const RETURNS_MS = 30_000

/** Whether a replica of the pool runs the build, or did until half a minute ago. */
export async function hasBuild(
  redis: RedisConnection,
  keys: PoolKeys,
  build: Pick<Versions, 'engine_version' | 'model_id'>,
): Promise<boolean> {
  const [replicas, now] = await Promise.all([listReplicas(redis, keys), redisTimeMs(redis, keys.config)])
  return replicas.some(
    ({ versions, state, updated_at: updatedAt }) =>
      versions?.engine_version === build.engine_version &&
      versions.model_id === build.model_id &&
      (state !== 'lost' || now - updatedAt < RETURNS_MS),
  )
}

function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b)
}

/** Undefined for an entry that cannot be read and is no replica's own: a standby that lives writes its entry again. */
function parseReplicaEntry(field: string, text: string): ReplicaEntry | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return unreadableEntry(field, 'not JSON')
  }
  const { data, error } = replicaEntrySchema.safeParse(value)
  if (data === undefined) return unreadableEntry(field, formatIssues(error))
  return { ...data, url: plainUrl(data.url) }
}

function unreadableEntry(field: string, fault: string): ReplicaEntry | undefined {
  if (!replicaIdSchema.safeParse(field).success) return undefined
  return {
    replica_id: field,
    worker_id: 'unknown',
    url: '',
    state: 'lost',
    reason: `its registry entry cannot be read: ${fault}`,
    versions: null,
    slots: 0,
    slots_configured: 1,
    busy: 0,
    capabilities: [],
    updated_at: 0,
  }
}

/** Whether a replica is listed though its entry cannot be read: no worker writes an empty URL. */
export function isUnreadable({ url, state }: Pick<ReplicaEntry, 'url' | 'state'>): boolean {
  return state === 'lost' && url === ''
}

/** An address without user info, query and fragment. Workers publish none of these, but others may write entries, too. */
function plainUrl(url: string): string {
  return url.replace(/[?#].*$/s, '').replace(/^([a-z][a-z\d+.-]*:\/\/)?[^/]*@/i, '$1')
}

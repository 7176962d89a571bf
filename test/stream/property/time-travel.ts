import type { Redis } from 'ioredis'
import type { PoolKeys } from '../../../src/contract/keys.ts'
import type { QueueModel } from './queue-model.ts'

/** What a Redis replica had of the job at one moment. */
export interface Snapshot {
  readonly stream: { readonly dump: Buffer; readonly ttlMs: number } | undefined
  readonly deadline: string | undefined
  /** What was counted, whether it was a batch job, and since when it was in which state. */
  readonly counters: Readonly<Record<string, string>>
  readonly index: readonly (string | null)[]
  readonly queues: ReturnType<QueueModel['save']>
}

function indexesOf(keys: PoolKeys): readonly string[] {
  return [keys.batchIndex, keys.expiry, ...keys.indexes]
}

/** Copies what there is. */
export async function takeSnapshot(
  redis: Redis,
  keys: PoolKeys,
  jobId: string,
  queues: QueueModel,
): Promise<Snapshot> {
  const stream = keys.events(jobId)
  const [dump, ttlMs, deadline, counters, ...index] = await Promise.all([
    redis.dumpBuffer(stream),
    redis.pttl(stream),
    redis.zscore(keys.deadlines, jobId),
    redis.hgetall(keys.counters),
    ...indexesOf(keys).map((key) => redis.zscore(key, jobId)),
  ])
  // Redis answers null for a key that is not there, whatever the driver's types say.
  const copy: Buffer | null = dump
  return {
    stream: copy === null ? undefined : { dump: copy, ttlMs: Math.max(0, ttlMs) },
    deadline: deadline ?? undefined,
    counters,
    index,
    queues: queues.save(),
  }
}

/** Puts a snapshot in the place of what there is and breaks the lines of readers, in one step, as a failover does. */
export async function rollBack(
  redis: Redis,
  keys: PoolKeys,
  jobId: string,
  snapshot: Snapshot,
  readers: readonly Redis[],
): Promise<void> {
  const stream = keys.events(jobId)
  const transaction = redis.multi()
  if (snapshot.stream === undefined) transaction.del(stream)
  else transaction.restore(stream, snapshot.stream.ttlMs, snapshot.stream.dump, 'REPLACE')
  if (snapshot.deadline === undefined) transaction.zrem(keys.deadlines, jobId)
  else transaction.zadd(keys.deadlines, snapshot.deadline, jobId)
  transaction.del(keys.counters)
  for (const [field, count] of Object.entries(snapshot.counters))
    transaction.hset(keys.counters, field, count)
  for (const [at, key] of indexesOf(keys).entries()) {
    const since = snapshot.index[at] ?? null
    if (since === null) transaction.zrem(key, jobId)
    else transaction.zadd(key, since, jobId)
  }
  for (const reader of readers) {
    const { localPort } = reader.stream
    if (localPort !== undefined) transaction.call('CLIENT', 'KILL', 'ADDR', `127.0.0.1:${localPort}`)
  }
  for (const [error] of (await transaction.exec()) ?? []) if (error !== null) throw error
}

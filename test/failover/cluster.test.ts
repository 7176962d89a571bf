import { describe, expect, test } from 'vitest'
import { slotOf } from '../../src/redis/cluster.ts'
import { collect, endOf, readLog, tokensIn } from '../support/job-log.ts'
import { KEYS } from '../support/lab.ts'
import { labOn } from '../support/own-redis.ts'
import { ownCluster } from '../support/redis-cluster.ts'
import type { RedisCluster } from '../support/redis-cluster.ts'
import type { RedisServer } from '../../src/redis/server.ts'
import { freeze, killed } from '../support/signals.ts'

/** The place of the lab's pool among the primaries, and so among their replicas. */
const SHARD = Math.floor((slotOf(KEYS.config) * 3) / 16_384)

function shardOf(cluster: RedisCluster): { primary: RedisServer; replica: RedisServer } {
  const primary = cluster.primaries[SHARD]
  const replica = cluster.replicas[SHARD]
  if (primary === undefined || replica === undefined) throw new Error('expected a primary and its replica')
  return { primary, replica }
}

describe("a shard's primary in mid-stream", () => {
  // The address of everybody leads to it: nobody may need that node again.
  test('that is killed is followed by its replica, for the worker, for readers and for producers', async () => {
    const cluster = await ownCluster({ replicas: true })
    const { primary } = shardOf(cluster)
    const lab = await labOn(primary.url)
    const client = await lab.client()
    const replica = await lab.replica({ tokensPerSecond: 50 })
    await lab.worker(replica)
    const { job_id: jobId } = await client.enqueue({ inputs: 'Go on', parameters: { max_new_tokens: 300 } })
    const reading = collect(client, jobId)
    await tokensIn(lab.redis, KEYS, jobId, 20)
    await killed(primary.pid)
    const events = await reading
    expect(endOf(events).tokens_out).toBe(300)
    expect(await readLog(lab.redis, KEYS, jobId)).toEqual(events)
    const next = await client.enqueue({ inputs: 'Next', parameters: { max_new_tokens: 3 } })
    endOf(await collect(client, next.job_id))
    const other = await client.enqueue({ inputs: 'Never mind', parameters: { max_new_tokens: 2000 } })
    await tokensIn(lab.redis, KEYS, other.job_id)
    await client.cancel(other.job_id)
    await expect.poll(() => replica.seen.open).toBe(0)
  })

  test('that freezes is left by all who wait for it, and comes back as a replica', async () => {
    const cluster = await ownCluster({ replicas: true })
    const { primary } = shardOf(cluster)
    const lab = await labOn(primary.url)
    const client = await lab.client()
    await lab.worker(await lab.replica({ tokensPerSecond: 50 }))
    const { job_id: jobId } = await client.enqueue({ inputs: 'Go on', parameters: { max_new_tokens: 300 } })
    const reading = collect(client, jobId)
    await tokensIn(lab.redis, KEYS, jobId, 20)
    const thaw = freeze(primary.pid)
    const events = await reading
    expect(endOf(events).tokens_out).toBe(300)
    thaw()
    const line = await cluster.connect(primary)
    await expect.poll(() => line.info('replication')).toContain('role:slave')
    const next = await client.enqueue({ inputs: 'Next', parameters: { max_new_tokens: 3 } })
    endOf(await collect(client, next.job_id))
  })
})

test('a slot that moves to another node in mid-stream takes everybody along', async () => {
  const cluster = await ownCluster()
  const from = cluster.primaries[SHARD]
  const to = cluster.primaries[(SHARD + 1) % 3]
  if (from === undefined || to === undefined) throw new Error('expected two nodes')
  const lab = await labOn(cluster.url)
  const client = await lab.client()
  const replica = await lab.replica({ tokensPerSecond: 50 })
  await lab.worker(replica)
  const { job_id: jobId } = await client.enqueue({ inputs: 'Move', parameters: { max_new_tokens: 300 } })
  const reading = collect(client, jobId)
  await tokensIn(lab.redis, KEYS, jobId, 20)
  await moveSlot(cluster, slotOf(KEYS.config), from, to)
  const events = await reading
  expect(endOf(events)).toMatchObject({ tokens_out: 300, attempts: 1 })
  const there = await cluster.connect(to)
  expect(await readLog(there, KEYS, jobId)).toEqual(events)
  const next = await client.enqueue({ inputs: 'Next', parameters: { max_new_tokens: 2000 } })
  await tokensIn(there, KEYS, next.job_id)
  await client.cancel(next.job_id)
  await expect.poll(() => replica.seen.open).toBe(0)
})

/** Moves a slot as redis-cli does: key by key, then everybody is told. */
async function moveSlot(
  cluster: RedisCluster,
  slot: number,
  from: RedisServer,
  to: RedisServer,
): Promise<void> {
  const [source, target] = [await cluster.connect(from), await cluster.connect(to)]
  const [sourceId, targetId] = [await source.cluster('MYID'), await target.cluster('MYID')]
  await target.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', sourceId)
  await source.call('CLUSTER', 'SETSLOT', slot, 'MIGRATING', targetId)
  for (;;) {
    const keys = (await source.call('CLUSTER', 'GETKEYSINSLOT', slot, 100)) as string[]
    if (keys.length === 0) break
    await source.call('MIGRATE', '127.0.0.1', to.port, '', 0, 5000, 'KEYS', ...keys)
  }
  await target.call('CLUSTER', 'SETSLOT', slot, 'NODE', targetId)
  await source.call('CLUSTER', 'SETSLOT', slot, 'NODE', targetId)
  for (const node of cluster.primaries) {
    if (node !== from && node !== to)
      await (await cluster.connect(node)).call('CLUSTER', 'SETSLOT', slot, 'NODE', targetId)
  }
}

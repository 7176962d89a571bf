import { expect } from 'vitest'
import { hasBuild, listReplicas, publishReplica, withdrawReplica } from '../../src/replica/registry.ts'
import { replicaEntrySchema } from '../../src/contract/replica-entry.ts'
import type { ReplicaState } from '../../src/contract/replica-entry.ts'
import { test } from '../support/redis.ts'

function entry(workerId: string, state: ReplicaState) {
  return {
    replica_id: 'r',
    worker_id: workerId,
    url: 'http://127.0.0.1:1',
    state,
    versions: null,
    slots: 1,
    slots_configured: 1,
    busy: 1,
    capabilities: [],
  }
}

test('a replica is as its worker says while the worker holds the lease, and lost when it does not', async ({
  redis: { redis, keys },
}) => {
  await redis.set(keys.lease('r'), 'a')
  await publishReplica(redis, keys, entry('a', 'ready'))
  expect(await listReplicas(redis, keys)).toMatchObject([{ state: 'ready', busy: 1 }])
  await redis.del(keys.lease('r'))
  expect(await listReplicas(redis, keys)).toMatchObject([
    { state: 'lost', busy: 0, reason: expect.stringContaining('went away') as string },
  ])
})

test('a standby is listed beside the holder, and no more once it serves', async ({
  redis: { redis, keys },
}) => {
  await redis.set(keys.lease('r'), 'a')
  await publishReplica(redis, keys, entry('a', 'ready'))
  await publishReplica(redis, keys, entry('b', 'standby'))
  expect((await listReplicas(redis, keys)).map(({ worker_id: id, state }) => [id, state])).toEqual([
    ['a', 'ready'],
    ['b', 'standby'],
  ])
  await redis.set(keys.lease('r'), 'b')
  await publishReplica(redis, keys, entry('b', 'ready'))
  expect((await listReplicas(redis, keys)).map(({ worker_id: id, state }) => [id, state])).toEqual([
    ['b', 'ready'],
  ])
})

test('a worker that leaves in good order leaves no entry', async ({ redis: { redis, keys } }) => {
  await publishReplica(redis, keys, entry('a', 'ready'))
  await withdrawReplica(redis, keys, entry('a', 'ready'))
  expect(await listReplicas(redis, keys)).toEqual([])
})

test('a worker that leaves takes nothing of the one that took over', async ({ redis: { redis, keys } }) => {
  await redis.set(keys.lease('r'), 'b')
  await publishReplica(redis, keys, entry('b', 'ready'))
  await withdrawReplica(redis, keys, entry('a', 'ready'))
  expect(await listReplicas(redis, keys)).toMatchObject([{ worker_id: 'b' }])
})

test('an entry that cannot be read is one lost replica with the fault, and the others are as they are', async ({
  redis: { redis, keys },
}) => {
  await redis.set(keys.lease('r'), 'a')
  await publishReplica(redis, keys, entry('a', 'ready'))
  const good = (await listReplicas(redis, keys))[0]
  await redis.hset(keys.replicas, { x: '{"state":"fine"}', y: 'no JSON', 'r@b': '{}', 'No Id': '{}' })
  const listed = await listReplicas(redis, keys)
  expect(listed).toMatchObject([
    good,
    { replica_id: 'x', state: 'lost', reason: expect.stringMatching(/^its registry entry cannot .*state/) },
    { replica_id: 'y', state: 'lost', reason: 'its registry entry cannot be read: not JSON', url: '' },
  ])
  expect(replicaEntrySchema.array().parse(listed)).toEqual(listed)
})

test('a build is there while a replica runs it, and for half a minute after its worker died', async ({
  redis: { redis, keys },
}) => {
  const build = { engine_version: '3.3.7+sha-abc', model_id: 'm' }
  const versions = { engine: 'tgi', ...build, model_sha: null, max_total_tokens: 100 } as const
  await publishReplica(redis, keys, { ...entry('a', 'ready'), versions })
  // Nobody holds the lease: its worker is lost.
  expect(await listReplicas(redis, keys)).toMatchObject([{ state: 'lost' }])
  expect(await hasBuild(redis, keys, build)).toBe(true)
  expect(await hasBuild(redis, keys, { ...build, model_id: 'other' })).toBe(false)

  const age = async (ms: number) => {
    const [field, text] = Object.entries(await redis.hgetall(keys.replicas))[0] ?? []
    const old = JSON.parse(text ?? '') as { updated_at: number }
    await redis.hset(keys.replicas, field ?? '', JSON.stringify({ ...old, updated_at: old.updated_at - ms }))
  }
  await age(31_000)
  expect(await hasBuild(redis, keys, build)).toBe(false)
  await redis.set(keys.lease('r'), 'a')
  expect(await hasBuild(redis, keys, build)).toBe(true)
})

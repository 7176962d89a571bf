import { expect } from 'vitest'
import { listReplicas, publishReplica, withdrawReplica } from '../../src/replica/registry.ts'
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

test('an entry that is not of the contract is told by its name', async ({ redis: { redis, keys } }) => {
  await redis.hset(keys.replicas, 'x', '{"state":"fine"}')
  await expect(listReplicas(redis, keys)).rejects.toThrow(/registry entry x: .*state/)
})

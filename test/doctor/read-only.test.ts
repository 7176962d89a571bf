import { expect } from 'vitest'
import { examine } from '../../src/doctor/doctor.ts'
import { KEYS, test } from '../support/lab.ts'
import type { Lab } from '../support/lab.ts'
import { complaints, until, found } from './stage.ts'

/** Keys that expire within seconds by themselves: BullMQ's check for stalled jobs, and who scans the queue. */
const SHORT_LIVED = [':stalled-check', ':scan']

/** Everything that Redis holds: each key with its bytes and when it ends. */
async function dumpOf({ redis }: Lab): Promise<Record<string, string>> {
  const all = await redis.keys('*')
  const keys = all.filter((key) => !SHORT_LIVED.some((end) => key.endsWith(end))).toSorted()
  const dumps = await Promise.all(
    keys.map(async (key) => {
      const ends = await redis.pexpiretime(key)
      // Redis moves a hash's fields to its larger table while they are read: their order in a dump is no content.
      if ((await redis.type(key)) === 'hash') {
        const fields = Object.entries(await redis.hgetall(key)).map((field) => JSON.stringify(field))
        return [key, `${ends} ${fields.toSorted().join(',')}`]
      }
      return [key, `${ends} ${(await redis.dumpBuffer(key))?.toString('hex')}`]
    }),
  )
  return Object.fromEntries(dumps) as Record<string, string>
}

test('it changes nothing in Redis, and gets by with the right to read', async ({ lab }) => {
  const client = await lab.client({ max_queued: 100 })
  await lab.client({}, 'other')
  // A worker that is gone and has left all that it can leave, which nobody touches any more.
  const times = { leaseMs: 300_000, lockMs: 300_000 }
  const replica = await lab.replica({ prefillMs: 60_000 })
  const doomed = await lab.process(replica, { ...times, slots: 1 })
  await until(lab.redisUrl, (report) => expect(found(report, 'replica-state').value).toBe('ready'))
  for (const priority of ['interactive', 'batch', 'batch'] as const)
    await client.enqueue({ inputs: 'a', priority })
  await expect.poll(() => replica.seen.open).toBe(1)
  doomed.kill('SIGKILL')
  await doomed.exited
  const before = await dumpOf(lab)
  expect(Object.keys(before).length).toBeGreaterThan(10)
  expect(before).toHaveProperty([KEYS.deadlines])

  await lab.redis.acl('SETUSER', 'reader', 'on', '>reader', '~*', '+@read', '+@connection', '+info', '+time')
  await lab.redis.acl('SETUSER', 'reader', '+config|get')
  try {
    const report = await examine({ redisUrl: lab.redisUrl.replace('//', '//reader:reader@') })
    expect(complaints(report).filter((line) => /permissions|pools/.test(line))).toEqual([])
    expect(report.pools).toMatchObject([
      { pool_id: 'lab', active: 1, waiting: { interactive: 0, batch: 2 }, replicas: [{ state: 'ready' }] },
      { pool_id: 'other' },
    ])
    expect(await lab.redis.acl('LOG')).toEqual([])
  } finally {
    await lab.redis.acl('DELUSER', 'reader')
  }
  expect(await dumpOf(lab)).toEqual(before)
})

import { describe, expect } from 'vitest'
import { openPool } from '../../src/client/pools.ts'
import { poolKeys } from '../../src/contract/keys.ts'
import { listCommands, withKey } from './commands.ts'
import { A_JOB, allowedOn, allowedOnChannel, isKeyed, kindsOfKeys, rightsOf } from './rights.ts'
import { ROLES, everything, test } from './stage.ts'

const FOREIGN: readonly string[] = [
  'other:key',
  'tgi-pool',
  'tgi-pool-2:{p}:events:x',
  'xtgi-pool:pools',
  'tgi-pool:{p}',
]

describe.for(ROLES)('a %s', (role) => {
  test('may do the same in both queues, in any pool and on any job', async ({ acl }) => {
    const commands = await listCommands(acl.admin)
    const same = async (key: string, other: string) =>
      expect(await allowedOn(acl, role, commands, other), other).toEqual(
        await allowedOn(acl, role, commands, key),
      )
    for (const [name, key] of kindsOfKeys('p')) {
      if (name.startsWith('jobs:')) await same(key, key.replace(':jobs:', ':batch:'))
    }
    for (const [name, key] of kindsOfKeys('p'))
      if (name !== 'pools') await same(key, key.replace('{p}', '{a.b-c}'))
    const job = `tgi-pool:{p}:jobs:${A_JOB}`
    for (const id of [
      'a',
      'metadata',
      'met',
      'wai',
      'waiting',
      'de-1',
      'active-2',
      'idx',
      'plain',
      'Z',
      '0.',
      'stalled-',
      'report',
    ])
      await same(job, `tgi-pool:{p}:jobs:${id}`)
  })

  test('may touch nothing else', async ({ acl }) => {
    const commands = await listCommands(acl.admin)
    for (const key of FOREIGN) {
      if (role === 'operator' && key.startsWith('tgi-pool:')) continue
      expect(await allowedOn(acl, role, commands, key), key).toEqual([])
      expect(await allowedOnChannel(acl, role, key), key).toEqual([])
    }
  })

  test('who is restricted to one pool may do the same there and nothing in another', async ({ acl }) => {
    const { admin } = acl
    const line = (await admin.acl('LIST')).find((user) => user.startsWith(`user ${role} `)) ?? ''
    const rules = line.replaceAll('{*}', '{p}').replaceAll('tgi-pool:*', 'tgi-pool:{p}:*')
    await admin.call('ACL', ['SETUSER', 'restricted', 'reset', ...rules.split(' ').slice(2)])
    try {
      const commands = await listCommands(acl.admin)
      for (const [name, key] of kindsOfKeys('q')) {
        if (name !== 'pools') expect(await allowedOn(acl, 'restricted', commands, key), name).toEqual([])
      }
      for (const channel of [poolKeys('q').cancelChannel, poolKeys('q').controlChannel])
        expect(await allowedOnChannel(acl, 'restricted', channel)).toEqual([])
      if (role === 'operator') return
      expect(await rightsOf(acl, 'restricted', 'p')).toEqual(await rightsOf(acl, role, 'p'))
    } finally {
      await admin.acl('DELUSER', 'restricted')
    }
  })

  test('is refused everything else for real, and nothing is changed', async ({ acl }) => {
    const client = await openPool({ redisUrl: acl.adminUrl, pool: 'p' })
    await client.create()
    await client.enqueue({ inputs: 'a prompt nobody must see' }, { jobId: A_JOB })
    await client.close()
    const before = await everything(acl)
    const commands = await listCommands(acl.admin)
    const redis = await acl.as(role)
    for (const [kind, key] of kindsOfKeys('p')) {
      const may = new Set(await allowedOn(acl, role, commands, key))
      const refused = commands.filter(
        (command) => isKeyed(command) && !may.has(command.name.join(' ').toUpperCase()),
      )
      const answers = await Promise.all(
        refused.map((command) => {
          const [name = '', ...args] = withKey(command, key)
          return redis.call(name, args).then(
            () => 'done',
            (error: unknown) => String(error),
          )
        }),
      )
      for (const [at, answer] of answers.entries())
        expect(answer, `${kind}: ${refused[at]?.name.join(' ')}`).toMatch(/NOPERM/)
    }
    expect(await everything(acl)).toEqual(before)
  })
})

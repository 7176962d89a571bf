import { describe, expect, test } from 'vitest'
import { redactUrl } from '../../src/redis/address.ts'
import { connectRedis } from '../../src/redis/connect.ts'
import { parseSentinelAddress } from '../../src/redis/sentinel-address.ts'

describe('the address of sentinels', () => {
  test.each([
    ['redis+sentinel://s1/main', { sentinels: [{ host: 's1', port: 26_379 }], name: 'main', db: 0 }],
    [
      'redis+sentinel://s1:1,s2,[::1]:3/main/2',
      {
        sentinels: [
          { host: 's1', port: 1 },
          { host: 's2', port: 26_379 },
          { host: '::1', port: 3 },
        ],
        name: 'main',
        db: 2,
      },
    ],
    ['redis+sentinel://:p%2Fw@s1/main', { username: undefined, password: 'p/w' }],
    ['redis+sentinel://user:pw@s1/main', { username: 'user', password: 'pw' }],
    [
      'redis+sentinel://s1/main?sentinel_username=su&sentinel_password=s%20p',
      { sentinelUsername: 'su', sentinelPassword: 's p', password: undefined },
    ],
    ['rediss+sentinel://s1/main', { tls: {}, sentinelTLS: {}, enableTLSForSentinelMode: true }],
  ])('%s is read', (url, expected) => {
    expect(parseSentinelAddress(url)).toMatchObject(expected)
  })

  test.each([
    'redis+sentinel://s1',
    'redis+sentinel:///main',
    'redis+sentinel://s1,/main',
    'redis+sentinel://s1:70000/main',
    'redis+sentinel://s1/main/two',
    'redis+sentinel://s1/main/0/more',
    'redis+sentinel://s1/main?password=secret',
    'redis+sentinel://:secret%@s1/main',
    'redis+sentinel://user:sec/ret@s1/main',
  ])('%s is none, and is not repeated', async (url) => {
    expect(parseSentinelAddress(url)).toBeUndefined()
    const refused = connectRedis(url, { role: 'commands' })
    await expect(refused).rejects.toMatchObject({
      kind: 'CONFIG',
      message: expect.stringContaining('redis+sentinel://'),
    })
    await expect(refused).rejects.not.toMatchObject({ message: expect.stringContaining('sec') })
    expect(redactUrl(url)).not.toContain('sec')
  })

  test('is told without its passwords', () => {
    expect(redactUrl('redis+sentinel://user:pw@s1:1,s2/main/2?sentinel_password=other')).toBe(
      'redis+sentinel://s1:1,s2/main/2',
    )
  })

  test('where none answers is one clear error', async () => {
    await expect(
      connectRedis('redis+sentinel://:pw@127.0.0.1:1,127.0.0.1:2/main', { role: 'commands' }),
    ).rejects.toMatchObject({
      kind: 'REDIS_UNAVAILABLE',
      message: expect.stringMatching(/^Redis at redis\+sentinel:\/\/127\.0\.0\.1:1,127\.0\.0\.1:2\/main /),
    })
  })
})

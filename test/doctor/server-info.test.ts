import { expect, test } from 'vitest'
import { parseServerConfig, parseServerInfo, productOf } from '../../src/doctor/server-info.ts'

test('INFO is read by name, whatever the sections and line ends', () => {
  const info = parseServerInfo(
    '# Server\r\nredis_version:7.0.15\r\nredis_mode:standalone\r\n\r\n# Memory\r\nused_memory:123\r\nmaxmemory_policy:allkeys-lru\r\n',
  )
  expect(info).toMatchObject({
    redis_version: '7.0.15',
    redis_mode: 'standalone',
    used_memory: 123,
    maxmemory_policy: 'allkeys-lru',
  })
  expect(parseServerInfo('loading:1\naof_enabled:0\n')).toMatchObject({ loading: true, aof_enabled: false })
})

test('what is not told, or makes no sense, is not known', () => {
  expect(parseServerInfo('')).toEqual({})
  expect(
    parseServerInfo('no colon\nused_memory:lots\naof_enabled:maybe\nrole:\n').used_memory,
  ).toBeUndefined()
  expect(parseServerInfo('aof_enabled:maybe\n').aof_enabled).toBeUndefined()
  expect(parseServerInfo('role:\n').role).toBeUndefined()
})

test.each([
  ['redis_version:7.0.15', { name: 'Redis', version: '7.0.15', major: 7 }],
  ['redis_version:6.2.14', { name: 'Redis', version: '6.2.14', major: 6 }],
  ['redis_version:5.0.3', { name: 'Redis', version: '5.0.3', major: 5 }],
  ['redis_version:255.255.255', { name: 'Redis', version: '255.255.255', major: 255 }],
  [
    'redis_version:7.2.4\r\nserver_name:valkey\r\nvalkey_version:8.0.1',
    { name: 'Valkey', version: '8.0.1', major: 8 },
  ],
  ['redis_version:7.2.4\r\nserver_name:valkey', { name: 'Valkey', version: '7.2.4', major: 7 }],
  ['redis_version:unstable', { name: 'Redis', version: 'unstable', major: undefined }],
  ['', { name: 'Redis', version: undefined, major: undefined }],
])('tells the product and its version from %j', (text, product) => {
  expect(productOf(parseServerInfo(text))).toEqual(product)
})

test('CONFIG GET is read from a list or a map', () => {
  const expected = { save: '3600 1', appendonly: true, maxclients: 100 }
  expect(parseServerConfig(['save', '3600 1', 'appendonly', 'yes', 'maxclients', '100'])).toMatchObject(
    expected,
  )
  expect(parseServerConfig({ save: '3600 1', appendonly: 'yes', maxclients: '100' })).toMatchObject(expected)
  expect(parseServerConfig(undefined)).toEqual({})
})

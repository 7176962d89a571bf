import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { expect, test } from 'vitest'
import { findRedisBinary } from '../../src/redis/server.ts'
import { wrongVersions } from '../support/versions.ts'

const ROOT = fileURLToPath(new URL('../..', import.meta.url))
const VERSIONS = { node: '22.19.0', redis: 'Valkey 8.1.1' }

test.each([
  [{}, []],
  [{ EXPECTED_NODE: '22.19', EXPECTED_REDIS: 'Valkey 8' }, []],
  [{ EXPECTED_NODE: '22.19.0', EXPECTED_REDIS: 'Valkey 8.1.1' }, []],
  [{ EXPECTED_NODE: '22.1' }, ['EXPECTED_NODE: expected 22.1, got 22.19.0']],
  [
    { EXPECTED_NODE: '24', EXPECTED_REDIS: 'Redis 8' },
    ['EXPECTED_NODE: expected 24, got 22.19.0', 'EXPECTED_REDIS: expected Redis 8, got Valkey 8.1.1'],
  ],
])('a run that expects %j reports %j', (expected, wrong) => {
  expect(wrongVersions(VERSIONS, expected)).toEqual(wrong)
})

test('REDIS_SERVER names the server program of every test', ({ onTestFinished }) => {
  const before = process.env['REDIS_SERVER']
  onTestFinished(() => {
    if (before === undefined) delete process.env['REDIS_SERVER']
    else process.env['REDIS_SERVER'] = before
  })
  process.env['REDIS_SERVER'] = process.execPath
  expect(findRedisBinary()).toBe(process.execPath)
  process.env['REDIS_SERVER'] = '/no/such/server'
  expect(findRedisBinary).toThrow('REDIS_SERVER: expected a server program, got /no/such/server')
})

test('the set-up takes no other server than the one that REDIS_SERVER names', () => {
  const { status, stderr } = spawnSync(process.execPath, ['scripts/setup.mjs', '--redis'], {
    cwd: ROOT,
    encoding: 'utf8',
    env: { ...process.env, REDIS_SERVER: '/no/such/server' },
  })
  expect(stderr).toBe(
    'tgi-pool set-up: REDIS_SERVER: expected a server program, 7 or newer, got /no/such/server\n',
  )
  expect(status).toBe(1)
})

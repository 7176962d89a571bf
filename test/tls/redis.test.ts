import { describe, expect } from 'vitest'
import { connectToServer } from '../../src/redis/connect.ts'
import { test } from '../cli/stage.ts'
import { BAD_CERTIFICATES, badCertificate, createTrust, tlsProxy, tlsRedis } from './stage.ts'

const PASSWORD = 'seen-by-nobody'

describe('with a certificate of a private authority in NODE_EXTRA_CA_CERTS', () => {
  test('the command, a worker and the queue work over TLS to Redis', async ({ stage }) => {
    const trust = await createTrust(stage)
    const { server, url } = await tlsRedis(stage, trust.authority.issue('127.0.0.1'))
    const plain = await connectToServer(server.url, { role: 'commands' })
    await plain.acl('SETUSER', 'app', 'on', `>${PASSWORD}`, '~*', '&*', '+@all')
    plain.disconnect()
    const env = { ...trust.env, REDIS_URL: url.replace('//', `//app:${PASSWORD}@`) }
    const replica = await stage.replica()

    const worker = stage.start(['worker', '--replica', replica.url], { env })
    await worker.printed('worker started', 'stderr')
    const generated = await stage.cli(['generate', 'hello', '--max-new-tokens', '4'], { env })
    expect(generated).toMatchObject({ status: 0 })
    expect(generated.stdout.trim()).not.toBe('')

    worker.kill('SIGTERM')
    expect(await worker.over).toMatchObject({ status: 0 })
  })
})

describe.each(BAD_CERTIFICATES)('a certificate %s', (_what, kind, reason) => {
  const verbs = [
    ['job', ['job', 'j1']],
    ['worker', ['worker', '--replica', 'http://127.0.0.1:9']],
  ] as const

  test.for(verbs)(
    'is refused by %s in one line, and Redis hears no password',
    async ([, args], { stage }) => {
      const trust = await createTrust(stage)
      const proxy = await tlsProxy(stage, Number(new URL(stage.redisUrl).port), badCertificate(trust, kind))
      const env = { ...trust.env, REDIS_URL: `rediss://app:${PASSWORD}@127.0.0.1:${proxy.port}` }

      const run = await stage.cli(args, { env })
      expect(run).toMatchObject({ status: 1, stdout: '' })
      expect(run.stderr).toMatch(/^[^\n]+\n$/)
      expect(run.stderr).toContain(`rediss://127.0.0.1:${proxy.port}`)
      expect(run.stderr).toMatch(reason)
      expect(run.stderr).not.toContain(PASSWORD)
      expect(proxy.knocks).toBeGreaterThan(0)
      expect(proxy.received()).toBe('')
    },
  )
})

test('a plain port where TLS is expected is told in one line', async ({ stage }) => {
  const address = stage.redisUrl.replace('redis:', 'rediss:')
  const run = await stage.cli(['job', 'j1'], { env: { REDIS_URL: address } })
  expect(run).toMatchObject({ status: 1, stdout: '' })
  expect(run.stderr).toMatch(/^[^\n]+\n$/)
  expect(run.stderr).toContain(address)
})

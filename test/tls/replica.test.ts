import { describe, expect } from 'vitest'
import { test } from '../cli/stage.ts'
import { BAD_CERTIFICATES, badCertificate, createTrust, tlsProxy } from './stage.ts'

const KEY = 'seen-by-the-replica-alone'

test('a replica behind TLS serves jobs, and gets its key there', async ({ stage }) => {
  const trust = await createTrust(stage)
  const replica = await stage.replica()
  const proxy = await tlsProxy(stage, replica.port, trust.authority.issue('127.0.0.1'))
  const worker = stage.start(['worker', '--replica', `https://127.0.0.1:${proxy.port}`], {
    env: { ...trust.env, TGI_API_KEY: KEY },
  })
  await worker.printed('worker started', 'stderr')

  const generated = await stage.cli(['generate', 'hello', '--max-new-tokens', '4'])
  expect(generated).toMatchObject({ status: 0 })
  expect(generated.stdout.trim()).not.toBe('')
  expect(proxy.received()).toContain(`Bearer ${KEY}`)
  worker.kill('SIGTERM')
  expect(await worker.over).toMatchObject({ status: 0 })
})

describe.each(BAD_CERTIFICATES)('a replica with a certificate %s', (_what, kind, _line, code) => {
  test('is unhealthy, `replicas` says why, and it hears nothing', async ({ stage }) => {
    const trust = await createTrust(stage)
    const replica = await stage.replica()
    const proxy = await tlsProxy(stage, replica.port, badCertificate(trust, kind))
    const url = `https://127.0.0.1:${proxy.port}`
    const worker = stage.start(['worker', '--replica', url], { env: { ...trust.env, TGI_API_KEY: KEY } })
    await worker.printed('worker started', 'stderr')

    const client = await stage.client()
    const entry = async () => (await client.replicas())[0]
    await expect.poll(entry).toMatchObject({ state: 'unhealthy', reason: expect.stringMatching(code) })
    expect((await entry())?.reason).toContain(url)
    expect(worker.stderr).not.toContain(KEY)
    expect(proxy.received()).toBe('')
    expect(replica.seen.open).toBe(0)
    worker.kill('SIGTERM')
    expect(await worker.over).toMatchObject({ status: 0 })
  })
})

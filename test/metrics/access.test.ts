import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished } from 'vitest'
import { call } from '../gateway/calls.ts'
import { health, test } from './stage.ts'

const KEY = 'k'.repeat(32)
const OTHER = 'o'.repeat(32)

async function keyFile(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'tgi-pool-keys-'))
  onTestFinished(() => rm(dir, { recursive: true }))
  await writeFile(join(dir, 'bearer'), `prometheus ${KEY}\n`)
  return join(dir, 'bearer')
}

describe('a metrics process without keys', () => {
  test.for(['0.0.0.0', '::', '192.168.0.1', 'example.org'])(
    'cannot listen on %s',
    async (host, { stage }) => {
      await expect(stage.serve({ host })).rejects.toMatchObject({
        kind: 'CONFIG',
        message: expect.stringContaining('TGI_POOL_METRICS_BEARER_FILE'),
      })
    },
  )

  test('answers under loopback names only: no page may reach it under a name of its own', async ({
    stage,
  }) => {
    const { url } = await stage.serve()
    const ask = (path: string, host: string) => call(url + path, { headers: { Host: host } })
    for (const host of ['localhost', '127.0.0.1:9464', '[::1]'])
      expect((await ask('/metrics', host)).status).toBe(200)
    for (const host of ['evil.example', 'localhost.evil.example', '10.0.0.1:9464']) {
      const answer = await ask('/metrics/', host)
      expect([host, answer.status]).toEqual([host, 403])
      expect(answer.text).not.toContain('tgi_pool')
    }
    expect((await ask('/livez', 'evil.example')).status).toBe(200)
  })
})

describe('a metrics process with keys', () => {
  test('asks for one, under whatever name, but not for health', async ({ stage }) => {
    const { url, port } = await stage.serve({ host: '0.0.0.0', bearerFile: await keyFile() })
    const scrape = (headers: Record<string, string>) =>
      call(`http://127.0.0.1:${port}/metrics`, { headers: { Host: 'metrics:9464', ...headers } })
    for (const headers of [{}, { Authorization: 'Bearer' }, { Authorization: `Bearer ${OTHER}` }]) {
      const answer = await scrape(headers)
      expect(answer.headers['www-authenticate']).toBe('Bearer realm="tgi-pool"')
      expect([answer.status, answer.text]).toEqual([401, expect.stringContaining('"UNAUTHORIZED"')])
      expect(answer.text).not.toContain(OTHER.slice(1))
    }
    const good = await scrape({ Authorization: `Bearer ${KEY}` })
    expect([good.status, good.text]).toEqual([200, expect.stringContaining('tgi_pool_redis_up 1')])
    expect(await health(url.replace('0.0.0.0', '127.0.0.1'), '/readyz')).toMatchObject({ status: 200 })
    expect(JSON.stringify(stage.lines)).not.toMatch(/k{16}|o{16}/)
  })

  test('lets nobody in when the file is gone', async ({ stage }) => {
    const bearerFile = await keyFile()
    const { url } = await stage.serve({ bearerFile })
    const status = async () =>
      (await call(`${url}/metrics`, { headers: { Authorization: `Bearer ${KEY}` } })).status
    expect(await status()).toBe(200)
    await rm(bearerFile)
    await expect.poll(status).toBe(401)
  })

  test('does not start on a file without one', async ({ stage }) => {
    const bearerFile = await keyFile()
    await writeFile(bearerFile, '# none\n')
    await expect(stage.serve({ bearerFile })).rejects.toMatchObject({ kind: 'CONFIG' })
  })
})

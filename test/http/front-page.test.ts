import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect } from 'vitest'
import { call, expectError } from '../gateway/calls.ts'
import type { Answer } from '../gateway/calls.ts'
import { keyFile } from '../gateway/key-file.ts'
import { test as gatewayTest } from '../gateway/stage.ts'
import { test as metricsTest } from '../metrics/stage.ts'

const KEY = 'k'.repeat(32)

/** The command that a page shows, as a person copies it. */
function commandOf({ text }: Answer): string {
  const [, shown = ''] = /<pre>(.*)<\/pre>/s.exec(text) ?? []
  return shown
    .replaceAll('&quot;', '"')
    .replaceAll('&lt;', '<')
    .replaceAll('&gt;', '>')
    .replaceAll('&amp;', '&')
}

/** That it is a page that loads and runs nothing, and leads to addresses that are there. */
async function expectPage(url: string, answer: Answer, headers: Record<string, string>): Promise<void> {
  expect([answer.status, answer.headers]).toMatchObject([
    200,
    {
      'content-type': 'text/html; charset=utf-8',
      'content-security-policy': expect.stringMatching(/^default-src 'none'; style-src 'sha256-[^']+';/),
      'cache-control': 'no-store',
    },
  ])
  expect(answer.text).not.toMatch(/<script|src=|https?:/i)
  const links = [...answer.text.matchAll(/href="([^"]*)"/g)].map(([, link = '']) => link)
  expect(links.length).toBeGreaterThan(1)
  for (const link of links)
    expect([link, (await call(new URL(link, `${url}/`).href, { headers })).status]).toEqual([link, 200])
}

describe('the page at the root of a gateway', () => {
  gatewayTest('says where to go on, with a command that works', async ({ lab, gateway }) => {
    await lab.client({}, 'main')
    await lab.worker(await lab.replica(), { pool: 'main' })
    const { url } = await gateway()
    const page = await call(`${url}/`)
    await expectPage(url, page, {})
    const { stdout } = await promisify(execFile)('sh', ['-c', `${commandOf(page)} --silent`])
    expect(JSON.parse(stdout)).toMatchObject({ state: 'ended', pool: 'main' })
    expect((await call(`${url}/`, { method: 'HEAD' })).status).toBe(200)
    expectError(await call(`${url}/`, { method: 'POST' }), 405, 'METHOD_NOT_ALLOWED')
  })

  gatewayTest('needs no key, as /docs, and says nothing of what is behind it', async ({ gateway }) => {
    const { url } = await gateway({ bearerFile: await keyFile(KEY) })
    const page = await call(`${url}/`, { headers: { Host: 'localhost' } })
    await expectPage(url, page, {})
    expect(page.text).not.toMatch(/\d\.\d+\.\d+|redis:/i)
  })

  gatewayTest('is there under loopback names only where there are no keys', async ({ gateway }) => {
    const { url } = await gateway()
    expectError(await call(`${url}/`, { headers: { Host: 'evil.example' } }), 403, 'FORBIDDEN')
    expectError(await call(`${url}/`, { headers: { Host: 'a"><script>' } }), 400, 'INVALID_PARAMS')
  })
})

describe('the page at the root of a metrics process', () => {
  metricsTest('says where to go on, with a command that works', async ({ stage }) => {
    const { url } = await stage.serve()
    const page = await call(`${url}/`)
    await expectPage(url, page, {})
    const { stdout } = await promisify(execFile)('sh', ['-c', `${commandOf(page)} --silent`])
    expect(stdout).toContain('tgi_pool_redis_up 1')
    expect((await call(`${url}/`, { headers: { Host: 'evil.example' } })).status).toBe(403)
  })

  metricsTest('needs no key; the metrics do', async ({ stage }) => {
    const { url } = await stage.serve({ bearerFile: await keyFile(KEY) })
    await expectPage(url, await call(`${url}/`), { Authorization: `Bearer ${KEY}` })
    expect((await call(`${url}/metrics`)).status).toBe(401)
  })
})

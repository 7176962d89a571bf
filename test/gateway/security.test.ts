import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, onTestFinished } from 'vitest'
import { POOL } from '../support/lab.ts'
import { call, expectError, post } from './calls.ts'
import { openEvents } from './sse-client.ts'
import { openGateway, test } from './stage.ts'

const KEY = 'k'.repeat(32)
const OTHER = 'o'.repeat(32)
const JOB = { pool: POOL, inputs: 'x' }

async function keyFile(text: string): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'tgi-pool-keys-'))
  onTestFinished(() => rm(dir, { recursive: true, force: true }))
  const file = join(dir, 'bearer')
  await writeFile(file, text)
  return file
}

describe('bearer keys', () => {
  test('are asked for wherever a job or a pool is told of, and nowhere else', async ({ lab, gateway }) => {
    await lab.client()
    const { url } = await gateway({ bearerFile: await keyFile(`# mine\n${OTHER}\n\n${KEY}\n`) })
    for (const [method, path] of [
      ['POST', '/v1/jobs'],
      ['GET', '/v1/jobs/x'],
      ['DELETE', '/v1/jobs/x'],
      ['GET', '/v1/jobs/x/events'],
      ['POST', '/v1/jobs/x/cancel'],
      ['GET', '/v1/pools'],
      ['PUT', '/v1/pools'],
      ['GET', '/nowhere'],
    ] as const) {
      const answer = await call(url + path, { method })
      expectError(answer, 401, 'UNAUTHORIZED')
      expect(answer.headers['www-authenticate']).toBe('Bearer realm="tgi-pool"')
    }
    for (const path of ['/', '/livez', '/readyz', '/openapi.json', '/docs']) {
      expect((await call(url + path)).status).toBe(200)
    }
    for (const key of [KEY, OTHER]) {
      expect((await post(`${url}/v1/jobs`, JOB, { Authorization: `Bearer ${key}` })).status).toBe(202)
    }
    const events = await openEvents(`${url}/v1/jobs/x/events`, { Authorization: `bearer ${KEY}` })
    expect(events.status).toBe(404)
  })

  test.for(['', 'Bearer', `Bearer ${KEY}x`, `Bearer ${KEY.slice(1)}`, `Basic ${KEY}`, KEY, 'Bearer # mine'])(
    'refuse %j, and no log has it',
    async (header, { gateway }) => {
      const { url, lines } = await gateway({ bearerFile: await keyFile(`# mine\n${KEY}\n`) })
      const answer = await call(`${url}/v1/pools?key=${KEY}`, { headers: { Authorization: header } })
      expectError(answer, 401, 'UNAUTHORIZED')
      await expect.poll(() => lines.length).toBeGreaterThan(0)
      expect(JSON.stringify(lines) + answer.text).not.toContain(KEY.slice(1))
    },
  )

  test('are read again when the file changes: only those that are in it may call', async ({ gateway }) => {
    const file = await keyFile(KEY)
    const gate = await gateway({ bearerFile: file })
    const status = async (key: string) =>
      (await call(`${gate.url}/v1/pools`, { headers: { Authorization: `Bearer ${key}` } })).status
    expect([await status(KEY), await status(OTHER)]).toEqual([200, 401])
    await writeFile(`${file}.new`, OTHER)
    await rename(`${file}.new`, file)
    await expect.poll(() => status(OTHER)).toBe(200)
    expect(await status(KEY)).toBe(401)
    await writeFile(file, `short\n${KEY}`)
    await gate.reloadKeys()
    expect([await status(KEY), await status(OTHER)]).toEqual([200, 401])
    expect(JSON.stringify(gate.lines)).toContain('line 1: expected at least 16')
  })

  test.for([
    ['short\n', 'line 1'],
    ['# none\n', 'got none'],
    [`${KEY}\nwith a space in it\n`, 'line 2'],
  ] as const)('of a file %j are refused at the start', async ([text, said], { lab }) => {
    const error = await openGateway(lab.redisUrl, { bearerFile: await keyFile(text) }).catch(
      (fault: unknown) => fault,
    )
    expect(error).toMatchObject({ kind: 'CONFIG', message: expect.stringContaining(said) })
    expect(String(error)).not.toContain(text.trim())
  })
})

describe('an address that others can reach', () => {
  test.for(['0.0.0.0', '::', 'example.org', '192.168.0.1', '127.0.0.1.example.org'])(
    '%s needs keys',
    async (host, { lab }) => {
      await expect(openGateway(lab.redisUrl, { host })).rejects.toMatchObject({ kind: 'CONFIG' })
    },
  )

  test('is served with keys, whatever the Host', async ({ gateway }) => {
    const gate = await gateway({ host: '0.0.0.0', bearerFile: await keyFile(KEY) })
    const headers = { Host: 'pool.example.org', Authorization: `Bearer ${KEY}` }
    expect((await call(`http://127.0.0.1:${gate.port}/v1/pools`, { headers })).status).toBe(200)
  })
})

describe('a loopback address without keys', () => {
  test.for(['localhost', 'LOCALHOST:8700', '127.0.0.1', '127.1.2.3:80', '[::1]:8700'])(
    'serves the Host %s',
    async (host, { gateway }) => {
      const { url } = await gateway()
      expect((await call(`${url}/v1/pools`, { headers: { Host: host } })).status).toBe(200)
    },
  )

  test.for(['example.org', 'localhost.example.org', '127.0.0.1.example.org:8700', '0.0.0.0', '[::2]'])(
    'refuses the Host %s, a name that a page has let point here',
    async (host, { gateway }) => {
      const { url } = await gateway()
      expectError(await call(`${url}/v1/pools`, { headers: { Host: host } }), 403, 'FORBIDDEN')
    },
  )

  test.for(['https://example.org', 'null', 'http://localhost:1', 'nonsense'])(
    'takes nothing from a page of origin %s',
    async (origin, { lab, gateway }) => {
      const client = await lab.client()
      const { url } = await gateway()
      const { job_id: id } = await client.enqueue({ inputs: 'x' })
      expectError(await post(`${url}/v1/jobs`, JOB, { Origin: origin }), 403, 'FORBIDDEN')
      for (const [method, path] of [
        ['POST', `/v1/jobs/${id}/cancel`],
        ['DELETE', `/v1/jobs/${id}`],
      ] as const) {
        expectError(await call(url + path, { method, headers: { Origin: origin } }), 403, 'FORBIDDEN')
      }
      expect((await client.job(id)).state).toBe('queued')
    },
  )

  test('takes jobs from a page of its own', async ({ lab, gateway }) => {
    await lab.client()
    const { url } = await gateway()
    expect((await post(`${url}/v1/jobs`, JOB, { Origin: url })).status).toBe(202)
  })
})

describe('CORS', () => {
  const PAGE = 'https://pages.example.org'

  test('lets trusted pages call and read, errors too', async ({ lab, gateway }) => {
    await lab.client()
    const { url } = await gateway({ corsOrigins: [PAGE] })
    const preflight = await call(`${url}/v1/jobs`, {
      method: 'OPTIONS',
      headers: { Origin: PAGE, 'Access-Control-Request-Method': 'POST' },
    })
    expect(preflight.status).toBe(204)
    expect(preflight.headers).toMatchObject({
      'access-control-allow-origin': PAGE,
      'access-control-allow-methods': 'GET, HEAD, POST, OPTIONS',
      'access-control-allow-headers': expect.stringMatching(/Idempotency-Key.* Prefer,/),
      vary: 'Origin',
    })
    for (const answer of [
      await post(`${url}/v1/jobs`, JOB, { Origin: PAGE }),
      await call(`${url}/nowhere`, { headers: { Origin: PAGE } }),
      await openEvents(`${url}/v1/jobs/nobody/events`, { Origin: PAGE }),
    ]) {
      expect(answer.headers['access-control-allow-origin']).toBe(PAGE)
      expect(answer.headers['access-control-expose-headers']).toContain('Location')
    }
  })

  test('is off for every other page, and without origins altogether', async ({ gateway }) => {
    const some = await gateway({ corsOrigins: [PAGE] })
    const none = await gateway()
    for (const { url } of [some, none]) {
      const { headers } = await call(`${url}/v1/pools`, { headers: { Origin: 'https://example.org' } })
      expect(headers['access-control-allow-origin']).toBeUndefined()
    }
    expect((await call(`${none.url}/livez`)).headers['vary']).toBeUndefined()
  })

  test('answers a preflight, which cannot have a key, where keys are asked for', async ({ gateway }) => {
    const { url } = await gateway({ corsOrigins: [PAGE], bearerFile: await keyFile(KEY) })
    const answer = await call(`${url}/v1/jobs`, { method: 'OPTIONS', headers: { Origin: PAGE } })
    expect(answer.status).toBe(204)
  })

  test.for([
    ['HTTPS://Example.ORG', 'https://example.org'],
    ['https://example.org:443', 'https://example.org'],
    ['http://example.org:80', 'http://example.org'],
    ['https://b\u00fccher.example', 'https://xn--bcher-kva.example'],
    ['http://[::1]:3000', 'http://[::1]:3000'],
    ['http://my_app.local:3000', 'http://my_app.local:3000'],
  ])('takes the origin %s as browsers send it', async ([given = '', sent = ''], { gateway }) => {
    const { url } = await gateway({ corsOrigins: [given] })
    const { headers } = await call(`${url}/livez`, { headers: { Origin: sent } })
    expect(headers['access-control-allow-origin']).toBe(sent)
  })

  test.for([
    '*',
    'https://*.example',
    'https://*',
    'https://app-*.example.org',
    'https://.+.example',
    'https://.example.org',
    'https://a..example.org',
    'https://example.org:*',
    'example.org',
    '//example.org',
    'https:example.org',
    'ftp://example.org',
    'https://example.org/',
    'https://example.org/a',
    'https://example.org?a',
    'https://user@example.org',
    'https://example.org https://b.example',
    ' https://example.org',
    'null',
    '',
  ])('refuses the origin %j at the start', async (origin, { lab }) => {
    await expect(openGateway(lab.redisUrl, { corsOrigins: [origin] })).rejects.toMatchObject({
      kind: 'CONFIG',
    })
  })
})

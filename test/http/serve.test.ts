import { Hono } from 'hono'
import { describe, expect, onTestFinished, test } from 'vitest'
import { addHealth } from '../../src/http/health.ts'
import { startHttpServer } from '../../src/http/serve.ts'
import type { HttpEnv, HttpServer } from '../../src/http/serve.ts'
import { openRaw } from '../support/raw-client.ts'

/** A server, and how many requests it has seen. */
async function serve(): Promise<HttpServer & { readonly seen: () => number }> {
  const app = new Hono<HttpEnv>({ strict: false })
  addHealth(app, () => ({ ready: true }))
  let seen = 0
  app.get('/', (context) => context.text('here'))
  app.get('/never', () => new Promise<Response>(() => undefined))
  app.get('/late', async (context) => {
    await new Promise((resolve) => setTimeout(resolve, 300))
    return context.text('late')
  })
  const server = await startHttpServer({ app, port: 0, onRequest: () => (seen += 1) })
  onTestFinished(() => server.close())
  return { ...server, seen: () => seen }
}

describe('a server of ours', () => {
  test('has an address that can be used, for IPv6 too', async () => {
    const server = await startHttpServer({ app: new Hono<HttpEnv>(), port: 0, host: '::1' })
    expect(server.url).toBe(`http://[::1]:${server.port}`)
    await server.close()
  })

  test.each([
    [
      'headers that are too large',
      `GET / HTTP/1.1\r\nHost: a\r\nX: ${'x'.repeat(20_000)}\r\n\r\n`,
      431,
      'HEADERS_TOO_LARGE',
    ],
    ['what is no HTTP', 'hello\r\n\r\n', 400, 'INVALID_PARAMS'],
    [
      'two lengths',
      'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n',
      400,
      'INVALID_PARAMS',
    ],
    [
      'a length and chunks',
      'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n',
      400,
      'INVALID_PARAMS',
    ],
    [
      'a path that is none',
      'GET http:// HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
      400,
      'INVALID_PARAMS',
    ],
  ])('answers %s with the envelope', async (_, bytes, status, code) => {
    const { port } = await serve()
    const text = await openRaw(port, bytes).closed
    expect(text).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
    expect(JSON.parse(text.slice(text.indexOf('\r\n\r\n')))).toMatchObject({
      error: { code, retriable: false },
    })
  })

  test.for([
    ['two', 'Host: a\r\nHost: a\r\n', '1.1'],
    ['two, one of them empty', 'Host: a\r\nHOST:\r\n', '1.1'],
    ['two in HTTP/1.0', 'Host: a\r\nhost: b\r\n', '1.0'],
    ['three, apart', 'Host: a\r\nX: b\r\nHost: a\r\nY: c\r\nHost: a\r\n', '1.1'],
    ['two in one', 'Host: a, b\r\n', '1.1'],
    ['a blank', 'Host: a b\r\n', '1.1'],
    ['a tab', 'Host: a\tb\r\n', '1.1'],
    ['a path', 'Host: a/b\r\n', '1.1'],
    ['a query', 'Host: a?b\r\n', '1.1'],
    ['a fragment', 'Host: a#b\r\n', '1.1'],
    ['a user', 'Host: b@a\r\n', '1.1'],
    ['a backslash', 'Host: a\\b\r\n', '1.1'],
    ['a quote', 'Host: "a"\r\n', '1.1'],
    ['a scheme', 'Host: http://a\r\n', '1.1'],
    ['percent signs', 'Host: %61\r\n', '1.1'],
    ['bytes that are no ASCII', 'Host: b\u00fccher.example\r\n', '1.1'],
    ['a port that is none', 'Host: a:99999\r\n', '1.1'],
    ['a port in letters', 'Host: a:b\r\n', '1.1'],
    ['a port without digits', 'Host: a:\r\n', '1.1'],
    ['two ports', 'Host: a:1:2\r\n', '1.1'],
    ['an address that is none', 'Host: [::1\r\n', '1.1'],
    ['an address that is none', 'Host: 1.2.3.999\r\n', '1.1'],
  ] as const)('refuses a Host with %s, on every path', async ([, headers, version]) => {
    const { port } = await serve()
    for (const path of ['/', '/livez', '/nowhere']) {
      const text = await openRaw(port, `GET ${path} HTTP/${version}\r\n${headers}\r\n`).closed
      expect(text).toMatch(/^HTTP\/1.1 400 .*\r\n\r\n\{"error":\{"code":"INVALID_PARAMS","message":"Host: /s)
    }
  })

  test.for([
    ['a name', 'Host: my_service.ns.svc:8700\r\n', '1.1'],
    ['a name in capitals with a dot', 'Host: A.Example.\r\n', '1.1'],
    ['an IPv4 address', 'Host: 127.0.0.1:80\r\n', '1.1'],
    ['an IPv6 address', 'Host: [::1]:80\r\n', '1.1'],
    ['nothing', 'Host:\r\n', '1.1'],
    ['none, in HTTP/1.0', '', '1.0'],
  ] as const)('takes a Host with %s', async ([, headers, version]) => {
    const { port } = await serve()
    const text = await openRaw(port, `GET / HTTP/${version}\r\nConnection: close\r\n${headers}\r\n`).closed
    expect(text).toMatch(/^HTTP\/1.1 200 /)
  })

  test('takes no Host in HTTP/1.1 from probes only', async () => {
    const { port } = await serve()
    const statuses = ['/livez', '/readyz/?x', '/', '/livez/x', '/nowhere'].map(async (path) => {
      const client = openRaw(port, `GET ${path} HTTP/1.1\r\nConnection: close\r\n\r\n`)
      await client.closed
      return client.statuses
    })
    expect(await Promise.all(statuses)).toEqual([[200], [200], [400], [400], [400]])
  })

  test('lets go of a client that sends its headers slowly', async () => {
    const { port } = await serve()
    const startedAt = performance.now()
    const text = await openRaw(port, 'GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ').closed
    expect(text).toMatch(/^HTTP\/1.1 408 .*"code":"REQUEST_TIMEOUT"/s)
    expect(performance.now() - startedAt).toBeGreaterThan(9000)
  })

  test('lets requests finish when it closes, for as long as it is told', async () => {
    const server = await serve()
    const late = fetch(`${server.url}/late`).then((answer) => answer.text())
    const never = fetch(`${server.url}/never`).catch(() => 'cut')
    await expect.poll(server.seen).toBe(2)
    const closed = server.close(2000)
    expect(await late).toBe('late')
    expect(await never).toBe('cut')
    await closed
    await server.close()
  })

  test('cuts at once when it is told so while it closes', async () => {
    const server = await serve()
    const never = fetch(`${server.url}/never`).catch(() => 'cut')
    await expect.poll(server.seen).toBe(1)
    // It would outlast the test, were it waited for.
    const closed = server.close(600_000)
    void server.close()
    expect(await never).toBe('cut')
    await closed
  })
})

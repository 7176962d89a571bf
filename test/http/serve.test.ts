import { connect } from 'node:net'
import { Hono } from 'hono'
import { describe, expect, onTestFinished, test } from 'vitest'
import { startHttpServer } from '../../src/http/serve.ts'
import type { HttpEnv, HttpServer } from '../../src/http/serve.ts'

/** A server, and how many requests it has seen. */
async function serve(): Promise<HttpServer & { readonly seen: () => number }> {
  const app = new Hono<HttpEnv>()
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

/** Sends bytes as they are; resolves with all that comes until the line is closed. */
function exchange(port: number, bytes: string): Promise<string> {
  return new Promise((resolve) => {
    let text = ''
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes))
    socket.setEncoding('latin1').on('data', (more: string) => (text += more))
    socket.on('error', () => undefined).on('close', () => resolve(text))
    onTestFinished(() => void socket.destroy())
  })
}

describe('a server of ours', () => {
  test('names the address that it cannot have', async () => {
    const { port } = await serve()
    await expect(startHttpServer({ app: new Hono<HttpEnv>(), port })).rejects.toMatchObject({
      kind: 'CONFIG',
      message: `cannot listen on 127.0.0.1:${port}: EADDRINUSE`,
    })
  })

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
    const text = await exchange(port, bytes)
    expect(text).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
    expect(JSON.parse(text.slice(text.indexOf('\r\n\r\n')))).toMatchObject({
      error: { code, retriable: false },
    })
  })

  test('lets go of a client that sends its headers slowly', async () => {
    const { port } = await serve()
    const startedAt = performance.now()
    const text = await exchange(port, 'GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ')
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

import { Hono } from 'hono'
import { describe, expect, onTestFinished, test } from 'vitest'
import { startHttpServer } from '../../src/http/serve.ts'
import type { HttpEnv } from '../../src/http/serve.ts'
import { openRaw } from '../support/raw-client.ts'

/** A server whose `/hold/<n>` answers when it is let go. */
async function serve() {
  const app = new Hono<HttpEnv>()
  const begun: string[] = []
  const held: { readonly n: string; readonly resolve: () => void }[] = []
  app.get('/hold/:n', async (context) => {
    const n = context.req.param('n')
    begun.push(n)
    await new Promise<void>((resolve) => void held.push({ n, resolve }))
    return context.text(`held ${n};`)
  })
  app.get('/:n', (context) => {
    begun.push(context.req.param('n'))
    return context.text(`${context.req.param('n')};`)
  })
  app.post('/length', async (context) => {
    begun.push('post')
    return context.text(`${(await context.req.text()).length};`)
  })
  let live = 0
  const server = await startHttpServer({
    app,
    port: 0,
    onRequest(_, outgoing) {
      live += 1
      outgoing.once('close', () => (live -= 1))
    },
  })
  onTestFinished(() => server.close())
  return {
    port: server.port,
    begun,
    /** Requests that are being answered. */
    live: () => live,
    letGo: (n: string) => {
      for (const one of held) if (one.n === n) one.resolve()
    },
  }
}

const get = (path: string) => `GET ${path} HTTP/1.1\r\nHost: a\r\n\r\n`
const post = (body: string) => `POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: ${body.length}\r\n\r\n`

/** The bodies of answers. */
const bodies = (text: string) => [...text.matchAll(/^(?:held )?\w+;/gm)].map(([body]) => body)

describe('requests of one connection', () => {
  test('are answered one at a time, in order', async () => {
    const { port, begun, letGo } = await serve()
    const client = openRaw(
      port,
      get('/hold/1') + get('/2') + get('/hold/3') + post('four') + 'four' + get('/5'),
    )
    await expect.poll(() => begun).toEqual(['1'])
    expect(client.text).toBe('')
    letGo('1')
    await expect.poll(() => begun).toEqual(['1', '2', '3'])
    letGo('3')
    await expect.poll(() => bodies(client.text)).toEqual(['held 1;', '2;', 'held 3;', '4;', '5;'])
  })

  test('wait on it alone: others have their turns', async () => {
    const { port, begun } = await serve()
    openRaw(port, get('/hold/1').repeat(100))
    const other = openRaw(port, get('/2'))
    await expect.poll(() => bodies(other.text)).toEqual(['2;'])
    expect(begun.toSorted()).toEqual(['1', '2'])
  })

  test('are all answered, however many and however large they are', async () => {
    const { port, letGo, begun } = await serve()
    const body = 'x'.repeat(300_000)
    const client = openRaw(port, get('/hold/1') + get('/2').repeat(3000) + post(body))
    await expect.poll(() => begun).toEqual(['1'])
    letGo('1')
    client.send(body)
    await expect.poll(() => bodies(client.text).at(-1)).toBe('300000;')
    expect(bodies(client.text)).toHaveLength(3002)
  })

  test('are forgotten when the client leaves, those that wait too', async () => {
    const { port, begun, live, letGo } = await serve()
    const client = openRaw(port, get('/hold/1') + get('/2') + get('/3'))
    await expect.poll(() => begun).toEqual(['1'])
    client.socket.destroy()
    await expect.poll(live).toBe(0)
    letGo('1')
    const other = openRaw(port, get('/4'))
    await expect.poll(() => bodies(other.text)).toEqual(['4;'])
    expect(begun).toEqual(['1', '4'])
  })

  test('have their answers before a fault that comes after them has its own', async () => {
    const { port, begun, letGo } = await serve()
    const client = openRaw(port, get('/hold/1') + get('/2') + 'no HTTP\r\n\r\n')
    await expect.poll(() => begun).toEqual(['1'])
    client.send('more of it\r\n\r\n')
    letGo('1')
    const text = await client.closed
    expect(client.statuses).toEqual([200, 200, 400])
    expect(bodies(text)).toEqual(['held 1;', '2;'])
  })

  test('cost connections when too many of them wait in all', async () => {
    const { port, live, letGo } = await serve()
    const flood = get('/hold/1') + 'GET /2 HTTP/1.1\r\n\r\n'.repeat(3000)
    let closed = 0
    const clients = Array.from({ length: 8 }, () => openRaw(port, flood))
    for (const client of clients) void client.closed.then(() => (closed += 1))
    await expect.poll(() => closed).toBeGreaterThan(0)
    await expect.poll(() => live() + closed).toBe(8)
    expect(closed).toBeLessThan(4)
    const other = openRaw(port, get('/3') + get('/4'))
    await expect.poll(() => bodies(other.text)[0]).toBe('3;')
    for (const { socket } of clients) socket.destroy()
    // A connection that is not read tells only at the next write that its client has left.
    letGo('1')
    await expect.poll(live).toBe(0)
    const after = openRaw(port, get('/5') + get('/6'))
    await expect.poll(() => bodies(after.text)).toEqual(['5;', '6;'])
  })

  test('stop at one whose Host is not one', async () => {
    const { port } = await serve()
    const client = openRaw(port, `${get('/1')}GET /2 HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n${get('/3')}`)
    await client.closed
    expect(client.statuses).toEqual([200, 400])
  })
})

import { Hono } from 'hono'
import { expect, onTestFinished, test } from 'vitest'
import { startHttpServer } from '../../src/http/serve.ts'
import type { HttpEnv } from '../../src/http/serve.ts'
import { openRaw } from '../support/raw-client.ts'

const BODY = 'x'.repeat(300_000)
const BEHIND =
  'GET /hold HTTP/1.1\r\nHost: a\r\n\r\n' +
  `POST /length HTTP/1.1\r\nHost: a\r\nContent-Length: ${BODY.length}\r\n\r\n`

/** A server whose `/hold` answers when it is let go. */
async function serve() {
  const app = new Hono<HttpEnv>()
  const held = Promise.withResolvers<void>()
  app.get('/hold', async (context) => {
    await held.promise
    return context.text('held')
  })
  app.post('/length', async (context) => context.text(`${(await context.req.text()).length};`))
  const server = await startHttpServer({ app, port: 0 })
  onTestFinished(() => server.close())
  return { port: server.port, letGo: held.resolve }
}

/** Longer than a request may take to come whole. */
const waitLong = () => new Promise((resolve) => setTimeout(resolve, 33_000))

test.concurrent('a body that waits behind another answer is not late', async () => {
  const { port, letGo } = await serve()
  const client = openRaw(port, BEHIND + BODY)
  await waitLong()
  expect(client.text).toBe('')
  letGo()
  await expect.poll(() => client.text).toContain('300000;')
  expect(client.statuses).toEqual([200, 200])
})

test.concurrent('a body that does not come is late after the same time, counted from its turn', async () => {
  const { port, letGo } = await serve()
  const client = openRaw(port, BEHIND + BODY.slice(1))
  await waitLong()
  expect(client.text).toBe('')
  letGo()
  await expect.poll(() => client.statuses).toEqual([200])
  await client.closed
  expect(client.statuses).toEqual([200, 408])
})

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'

import { answer, event, tokenFrame } from './frames.ts'
import { clientOf, generate } from './listen.ts'
import { serveHttp, serveStream, startStream } from './scripted-server.ts'

test('generations one after another share a connection, those side by side do not', async () => {
  const server = await serveStream(answer(['a', 'b']))
  const client = clientOf(server.url)
  for (let nth = 0; nth < 5; nth += 1) {
    await generate(client).done
    // The end of the answer comes behind its last event.
    await expect.poll(() => server.requests.length).toBe(nth + 1)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  expect(server.accepted()).toBe(1)
  await Promise.all([1, 2, 3].map(() => generate(client).done))
  expect(server.accepted()).toBe(3)
  expect(server.open()).toBe(3)
})

test('close() closes the connections that wait for a request', async () => {
  const server = await serveStream(answer(['a']))
  const client = clientOf(server.url)
  await Promise.all([generate(client).done, generate(client).done])
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(server.open()).toBe(2)
  await client.close()
  await expect.poll(server.open).toBe(0)
})

test('a connection whose answer does not end after its last event is closed', async () => {
  const server = await serveHttp((response) => void startStream(response).write(answer(['a'])))
  const client = clientOf(server.url)
  await generate(client).done
  expect(server.open()).toBe(1)
  await expect.poll(server.open).toBe(0)
  await generate(client).done
  expect(server.accepted()).toBe(2)
})

test('what a server sends after its last event is not told', async () => {
  const server = await serveStream(answer(['a']) + event(tokenFrame(9)))
  const client = clientOf(server.url)
  const heard = generate(client)
  expect(await heard.done).toMatchObject({ tokensOut: 1 })
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(heard.tokens).toHaveLength(1)
})

test('an answer that is cut at the limit is closed at once', async () => {
  const server = await serveHttp((response) => {
    startStream(response).write([1, 2, 3, 4].map((index) => event(tokenFrame(index))).join(''))
  })
  expect(await generate(clientOf(server.url), { maxNewTokens: 2 }).done).toMatchObject({ cut: true })
  await expect.poll(() => server.requests[0]?.closedAt(), { timeout: 100, interval: 5 }).toBeDefined()
})

test('a connection that the server has closed is not used again', async () => {
  const server = await serveHttp((response) => {
    startStream(response).end(answer(['a']))
    setTimeout(() => response.socket?.destroy(), 30)
  })
  const client = clientOf(server.url)
  for (let nth = 0; nth < 3; nth += 1) {
    expect(await generate(client).done).toMatchObject({ text: 'a' })
    await expect.poll(server.open, { interval: 5 }).toBe(0)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  expect(server.accepted()).toBe(3)
})

/** A server that answers the requests of these numbers, from 0, and hangs up on the others. */
function answering(...numbers: readonly number[]) {
  let nth = 0
  return serveHttp((response) => {
    const answers = numbers.includes(nth)
    nth += 1
    if (answers) startStream(response).end(answer(['a']))
    else response.socket?.destroy()
  })
}

/** Until the connection of an answer that has just been read is kept. */
const kept = () => new Promise((resolve) => setTimeout(resolve, 20))

test('a request that meets a kept connection as it is closed is sent once more, on another', async () => {
  const server = await answering(0, 2)
  const client = clientOf(server.url)
  await generate(client).done
  await kept()
  const heard = generate(client)
  expect(await heard.done).toMatchObject({ text: 'a' })
  expect(heard.tokens).toHaveLength(1)
  expect([server.requests.length, server.accepted()]).toEqual([3, 2])
})

test('and not a third time, nor one that had a connection of its own', async () => {
  const server = await answering(0)
  const client = clientOf(server.url)
  await generate(client).done
  await kept()
  expect(await generate(client).failure()).toMatchObject({ kind: 'disconnected' })
  expect(server.requests).toHaveLength(3)
  expect(await generate(client).failure()).toMatchObject({ kind: 'disconnected' })
  expect(server.requests).toHaveLength(4)
})

test('a server that is gone since is one that cannot be connected to', async () => {
  const server = createServer((_, response) => void startStream(response).end(answer(['a'])))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const client = clientOf(`http://127.0.0.1:${port}`)
  await generate(client).done
  await kept()
  server.close()
  server.closeAllConnections()
  expect(await generate(client).failure()).toMatchObject({ kind: 'connect' })
})

test('a connection waits no longer than its server says', async () => {
  const server = await serveHttp((response) => {
    response.setHeader('keep-alive', 'timeout=1')
    startStream(response).end(answer(['a']))
  })
  await generate(clientOf(server.url)).done
  await expect.poll(server.open, { timeout: 500 }).toBe(0)
})

test('calls close their connection, and a generation does not use it', async () => {
  const server = await serveHttp((response, { path }) => {
    if (path === '/generate_stream') startStream(response).end(answer(['a']))
    else response.end()
  })
  const client = clientOf(server.url)
  await client.health()
  await expect.poll(server.open).toBe(0)
  expect(server.requests[0]?.headers).toMatchObject({ connection: 'close' })
  await generate(client).done
  expect(server.requests[1]?.headers).toMatchObject({ connection: 'keep-alive' })
  expect(server.accepted()).toBe(2)
})

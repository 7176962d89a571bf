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

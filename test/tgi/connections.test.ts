import { createServer } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { expect, test } from 'vitest'

import { openSockets } from '../support/leaks.ts'
import { answer, event, tokenFrame } from './frames.ts'
import { clientOf, generate } from './listen.ts'
import { serveHttp, serveStream, startStream } from './scripted-server.ts'
import type { ScriptedServer } from './scripted-server.ts'

/** Waits until this many answers have been sent whole, and their ends have been read. */
async function kept(server: Pick<ScriptedServer, 'answered'>, answers: number): Promise<void> {
  await expect.poll(server.answered, { interval: 1 }).toBe(answers)
  // What is written on loopback can be read in the next turn of the event loop; one more to handle it.
  for (let turn = 0; turn < 2; turn += 1) await new Promise((resolve) => setImmediate(resolve))
}

test('generations one after another share a connection, those side by side do not', async () => {
  const server = await serveStream(answer(['a', 'b']))
  const client = clientOf(server.url)
  for (let nth = 0; nth < 5; nth += 1) {
    await generate(client).done
    await kept(server, nth + 1)
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
  await kept(server, 2)
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
  await kept(server, 1)
  expect(heard.tokens).toHaveLength(1)
})

test('an answer that is cut at the limit is closed at once', async () => {
  const server = await serveHttp((response) => {
    startStream(response).write([1, 2, 3, 4].map((index) => event(tokenFrame(index))).join(''))
  })
  expect(await generate(clientOf(server.url), { maxNewTokens: 2 }).done).toMatchObject({ cut: true })
  await expect.poll(() => server.requests[0]?.closed()).toBe(true)
})

test('a connection that the server has closed is not used again', async () => {
  const sockets: (Socket | null)[] = []
  const server = await serveHttp((response) => {
    sockets.push(response.socket)
    startStream(response).end(answer(['a']))
  })
  const client = clientOf(server.url)
  const before = openSockets()
  for (let nth = 0; nth < 3; nth += 1) {
    expect(await generate(client).done).toMatchObject({ text: 'a' })
    await kept(server, nth + 1)
    sockets.at(-1)?.destroy()
    await expect.poll(openSockets).toBe(before)
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

test('a request that meets a kept connection as it is closed is sent once more, on another', async () => {
  const server = await answering(0, 2)
  const client = clientOf(server.url)
  await generate(client).done
  await kept(server, 1)
  const heard = generate(client)
  expect(await heard.done).toMatchObject({ text: 'a' })
  expect(heard.tokens).toHaveLength(1)
  expect([server.requests.length, server.accepted()]).toEqual([3, 2])
})

test('and not a third time, nor one that had a connection of its own', async () => {
  const server = await answering(0)
  const client = clientOf(server.url)
  await generate(client).done
  await kept(server, 1)
  expect(await generate(client).failure()).toMatchObject({ kind: 'disconnected' })
  expect(server.requests).toHaveLength(3)
  expect(await generate(client).failure()).toMatchObject({ kind: 'disconnected' })
  expect(server.requests).toHaveLength(4)
})

test('a server that is gone since is one that cannot be connected to', async () => {
  let answered = 0
  const server = createServer((_, response) => {
    response.once('finish', () => (answered += 1))
    startStream(response).end(answer(['a']))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  const client = clientOf(`http://127.0.0.1:${port}`)
  await generate(client).done
  await kept({ answered: () => answered }, 1)
  server.close()
  server.closeAllConnections()
  expect(await generate(client).failure()).toMatchObject({ kind: 'connect' })
})

test('a connection waits no longer than its server says', async () => {
  const server = await serveHttp((response) => {
    response.setHeader('keep-alive', 'timeout=1')
    startStream(response).end(answer(['a']))
  })
  const client = clientOf(server.url)
  await generate(client).done
  await kept(server, 1)
  await client.health().catch(() => {})
  // By itself it would wait four seconds.
  expect(server.requests[0]?.closed()).toBe(true)
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

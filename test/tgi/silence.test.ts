import type { Socket } from 'node:net'

import { expect, test } from 'vitest'

import { answer, event, KEEP_ALIVE, tokenFrame } from './frames.ts'
import { clientOf, generate, outcomeOf, textsOf } from './listen.ts'
import { serveHttp, serveTcp, startStream } from './scripted-server.ts'

test('silence before the headers is a first-token timeout and closes the socket', async () => {
  const server = await serveHttp(() => {})
  const heard = generate(clientOf(server.url), {}, { firstTokenTimeoutMs: 80 })
  expect(await heard.failure()).toMatchObject({
    kind: 'first_token_timeout',
    message: `${server.url} sent no first token within 80 ms`,
  })
  await expect.poll(server.open).toBe(0)
})

test('keep-alive comments do not put the first-token limit off', async () => {
  const server = await serveHttp((response) => {
    startStream(response)
    const timer = setInterval(() => response.write(KEEP_ALIVE), 10)
    response.once('close', () => clearInterval(timer))
  })
  const begin = performance.now()
  const heard = generate(clientOf(server.url), {}, { firstTokenTimeoutMs: 150 })
  expect(await heard.failure()).toMatchObject({ kind: 'first_token_timeout' })
  expect(performance.now() - begin).toBeGreaterThanOrEqual(149)
})

test('silence between two tokens is a token timeout, keep-alives or not', async () => {
  const server = await serveHttp((response) => {
    startStream(response).write(event(tokenFrame(1)))
    const timer = setInterval(() => response.write(KEEP_ALIVE), 10)
    response.once('close', () => clearInterval(timer))
  })
  const heard = generate(clientOf(server.url), {}, { tokenTimeoutMs: 80 })
  expect(await heard.failure()).toMatchObject({
    kind: 'token_timeout',
    message: `${server.url} sent no token within 80 ms after token 1`,
  })
  expect(heard.tokens).toHaveLength(1)
  await expect.poll(server.open).toBe(0)
})

test('tokens that keep coming meet no limit, however long they take together', async () => {
  const server = await serveHttp((response) => {
    startStream(response)
    let index = 0
    const timer = setInterval(() => {
      index += 1
      if (index < 15) {
        response.write(event(tokenFrame(index)))
      } else {
        clearInterval(timer)
        response.end(answer(['!']))
      }
    }, 100)
    response.once('close', () => clearInterval(timer))
  })
  const limits = { firstTokenTimeoutMs: 1000, tokenTimeoutMs: 1000 }
  const begin = performance.now()
  expect(await generate(clientOf(server.url), {}, limits).done).toMatchObject({ tokensOut: 15 })
  expect(performance.now() - begin).toBeGreaterThan(1000)
})

test('a process that was frozen reads what came meanwhile before it calls the replica silent', async () => {
  let replica: Socket | undefined
  const server = await serveTcp((socket) => {
    replica = socket
    const head = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n'
    socket.once('data', () => void socket.write(head + event(tokenFrame(1))))
  })
  const heard = generate(clientOf(server.url), {}, { tokenTimeoutMs: 1000 })
  await expect.poll(() => heard.tokens.length, { interval: 1 }).toBe(1)
  // The bytes go to the kernel here and now, then the thread stands still beyond the limit. From this phase of the
  // loop, timers come before sockets.
  setImmediate(() => {
    replica?.write(answer(['a', 'b']))
    const until = performance.now() + 1200
    while (performance.now() < until);
  })
  expect(await heard.done).toMatchObject({ text: 'ab' })
})

test('limits beyond what timers can hold are no limits', async () => {
  const server = await serveHttp((response) => void startStream(response).end(answer(['a'])))
  const limits = { firstTokenTimeoutMs: Infinity, tokenTimeoutMs: 2 ** 40 }
  expect(await generate(clientOf(server.url), {}, limits).done).toMatchObject({ text: 'a' })
})

test('a paused stream stops reading, and loses nothing when it goes on', async () => {
  const total = 40_000
  const padding = 'x'.repeat(500)
  let written = 0
  const server = await serveHttp(async (response) => {
    startStream(response)
    for (let index = 1; index < total; index += 1) {
      written = index
      const more = response.write(event(tokenFrame(index, {}, { padding })))
      if (!more) await new Promise((resolve) => response.once('drain', resolve))
    }
    response.end(answer(['end']))
  })
  const heard = generate(clientOf(server.url), { maxNewTokens: total + 1 }, { tokenTimeoutMs: 1500 })
  await expect.poll(() => heard.tokens.length, { interval: 1 }).toBeGreaterThan(0)
  heard.pause()
  heard.pause()

  // The writer comes to a stand; what it has written is in the kernel's buffers, not in ours.
  let seen = -1
  await expect
    .poll(
      () => {
        const still = seen === written
        seen = written
        return still
      },
      { interval: 100 },
    )
    .toBe(true)
  expect(written).toBeLessThan(total - 1)
  const held = heard.tokens.length
  expect(held).toBeLessThan(written)

  // Longer than the limit; a pause does not count.
  await new Promise((resolve) => setTimeout(resolve, 1700))
  expect(heard.tokens).toHaveLength(held)
  heard.resume()
  const { end, tokens } = await outcomeOf(heard)
  expect(end.tokensOut).toBe(total)
  expect(tokens.map(({ id }) => id).slice(0, -1)).toEqual(
    Array.from({ length: total - 1 }, (_, at) => 1001 + at),
  )
})

test('the limit goes on after a pause with the time that was left', async () => {
  const server = await serveHttp((response) => void startStream(response).write(event(tokenFrame(1))))
  const heard = generate(clientOf(server.url), {}, { tokenTimeoutMs: 1000 })
  await expect.poll(() => heard.tokens.length, { interval: 1 }).toBe(1)
  heard.pause()
  await new Promise((resolve) => setTimeout(resolve, 1200))
  const begin = performance.now()
  heard.resume()
  expect(await heard.failure()).toMatchObject({ kind: 'token_timeout' })
  expect(performance.now() - begin).toBeGreaterThan(200)
})

test('a pause before the connection is made holds back the first token', async () => {
  const server = await serveHttp((response) => void startStream(response).end(answer(['a', 'b'])))
  const heard = generate(clientOf(server.url), {}, { firstTokenTimeoutMs: 1000 })
  heard.pause()
  await expect.poll(() => server.requests.length).toBe(1)
  await new Promise((resolve) => setTimeout(resolve, 1200))
  expect(heard.tokens).toEqual([])
  heard.resume()
  expect(await heard.done).toMatchObject({ text: 'ab' })
})

test('a token of one stream may make another go on', async () => {
  const first = await serveHttp((response) => void startStream(response).write(event(tokenFrame(1))))
  const client = clientOf(first.url)
  const held = generate(client)
  await expect.poll(() => held.tokens.length).toBe(1)
  held.pause()

  const long = await serveHttp((response) => {
    startStream(response).write(event(tokenFrame(1)))
    setImmediate(() => response.end(answer(['x', 'y'])))
  })
  const other = generate(clientOf(long.url))
  other.pause()
  const trigger = await serveHttp((response) => void startStream(response).end(answer(['go'])))
  await generate(
    clientOf(trigger.url),
    {},
    {
      onToken: () => {
        other.resume()
        held.resume()
        held.pause()
      },
    },
  ).done
  const { tokens } = await outcomeOf(other)
  expect(textsOf(tokens)).toEqual([' t1', 'x', 'y'])
  held.abort.abort(new Error('enough'))
})

test('a server that ends while the stream is paused is heard to the end', async () => {
  const server = await serveHttp(
    (response) => void startStream(response).end(answer(Array.from({ length: 3000 }, String))),
  )
  const heard = generate(clientOf(server.url), { maxNewTokens: 5000 }, { onToken: () => {} })
  heard.pause()
  await expect.poll(() => server.requests.length).toBe(1)
  await new Promise((resolve) => setTimeout(resolve, 100))
  heard.resume()
  expect(await heard.done).toMatchObject({ tokensOut: 3000 })
})

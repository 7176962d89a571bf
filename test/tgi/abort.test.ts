import type { ServerResponse } from 'node:http'

import { expect, test } from 'vitest'

import { openSockets } from '../support/leaks.ts'
import { event, KEEP_ALIVE, tokenFrame } from './frames.ts'
import { fullBacklog } from './full-backlog.ts'
import { clientOf, generate } from './listen.ts'
import type { Heard } from './listen.ts'
import { serveHttp, serveTcp, startStream } from './scripted-server.ts'
import type { ScriptedServer } from './scripted-server.ts'

const REASON = new Error('nobody wants it any more')

/** Aborts, and checks that `done` has rejected with the reason before the event loop turns. */
async function abortAtOnce(heard: Heard): Promise<void> {
  heard.abort.abort(REASON)
  const turn = new Promise((resolve) => setImmediate(() => resolve('the event loop has turned')))
  const outcome = heard.done.then(
    () => 'the answer ended',
    (reason: unknown) => reason,
  )
  expect(await Promise.race([outcome, turn])).toBe(REASON)
}

/** A server that answers probes, and generations by this script. */
function serveProbes(script: (response: ServerResponse) => void): Promise<ScriptedServer> {
  return serveHttp((response, { path }) => void (path === '/health' ? response.end() : script(response)))
}

/**
 * The socket of request 0 is closed before a probe that is sent now gets its answer: that the abort closed it at once,
 * in terms that hold on a machine of any speed.
 */
async function closesBeforeNextAnswer(server: ScriptedServer): Promise<void> {
  await clientOf(server.url).health()
  expect(server.requests[0]?.closed()).toBe(true)
}

test('a signal that is aborted already sends nothing', async () => {
  const server = await serveHttp(() => {})
  const heard = generate(clientOf(server.url), {}, { signal: AbortSignal.abort(REASON) })
  await expect(heard.done).rejects.toBe(REASON)
  heard.pause()
  heard.resume()
  expect(server.accepted()).toBe(0)
})

test('an abort in the same tick sends nothing', async () => {
  const server = await serveHttp(() => {})
  const client = clientOf(server.url)
  const heard = generate(client)
  heard.abort.abort(REASON)
  await expect(heard.done).rejects.toBe(REASON)
  await client.close()
  expect(server.received()).toBe(0)
})

test('an abort while connecting rejects at once, and a late handshake sends nothing', async () => {
  const listener = await fullBacklog()
  const aborted = generate(clientOf(listener.url, { apiKey: 'aborted', connectTimeoutMs: 10_000 }))
  const kept = generate(clientOf(listener.url, { apiKey: 'kept', connectTimeoutMs: 10_000 }))
  let sent = false
  const before = openSockets()
  const watched = generate(clientOf(listener.url), {}, { onRequestSent: () => (sent = true) })
  await expect.poll(openSockets).toBeGreaterThan(before)
  expect(sent).toBe(false)

  await abortAtOnce(aborted)
  await abortAtOnce(watched)
  listener.release()
  // All three would have got through by the same repeated SYN; the question after it comes later still.
  expect(await kept.done).toMatchObject({ text: 'late' })
  expect(await listener.seen()).toEqual(['Bearer kept'])
  expect(sent).toBe(false)
})

test('close() while connecting leaves no socket behind', async () => {
  const listener = await fullBacklog()
  const before = openSockets()
  // Longer than the test may take: close() does not wait for the handshake to time out.
  const client = clientOf(listener.url, { connectTimeoutMs: 300_000 })
  const heard = generate(client)
  await expect.poll(openSockets).toBe(before + 1)
  await client.close()
  await expect.poll(openSockets).toBe(before)
  expect(await heard.failure()).toMatchObject({ kind: 'disconnected' })
})

test('a connection that is not made in time is a failure to connect', async () => {
  const listener = await fullBacklog()
  const heard = generate(clientOf(listener.url, { connectTimeoutMs: 100 }))
  expect(await heard.failure()).toMatchObject({
    kind: 'connect',
    message: expect.stringContaining('TIMEOUT'),
  })
})

test('an abort while waiting for headers closes the socket at once', async () => {
  const server = await serveProbes(() => {})
  const heard = generate(clientOf(server.url))
  await expect.poll(() => server.requests.length).toBe(1)
  await abortAtOnce(heard)
  await closesBeforeNextAnswer(server)
})

test('an abort in prefill, behind headers and keep-alives, closes the socket at once', async () => {
  const server = await serveProbes((response) => void startStream(response).write(KEEP_ALIVE))
  const heard = generate(clientOf(server.url))
  await expect.poll(() => server.requests.length).toBe(1)
  await abortAtOnce(heard)
  await closesBeforeNextAnswer(server)
})

test('an abort in mid-stream closes the socket at once and no token is told after it', async () => {
  const server = await serveProbes((response) => {
    startStream(response)
    let index = 0
    const timer = setInterval(() => {
      for (let more = 0; more < 20; more += 1) response.write(event(tokenFrame((index += 1))))
    }, 1)
    response.once('close', () => clearInterval(timer))
  })
  const heard = generate(clientOf(server.url), { maxNewTokens: 1_000_000 })
  await expect.poll(() => heard.tokens.length).toBeGreaterThan(20)
  const told = heard.tokens.length
  await abortAtOnce(heard)
  await closesBeforeNextAnswer(server)
  expect(heard.tokens).toHaveLength(told)
})

test('an abort from inside onToken is the last token, though more came in the same chunk', async () => {
  const server = await serveHttp((response) => {
    startStream(response).write([1, 2, 3, 4].map((index) => event(tokenFrame(index))).join(''))
  })
  const abort = new AbortController()
  let told = 0
  const heard = generate(
    clientOf(server.url),
    {},
    {
      signal: abort.signal,
      onToken: () => {
        told += 1
        if (told === 2) abort.abort(REASON)
      },
    },
  )
  await expect(heard.done).rejects.toBe(REASON)
  await expect.poll(server.open).toBe(0)
  expect(told).toBe(2)
})

test('an abort while paused closes the socket too', async () => {
  const server = await serveHttp((response) => void startStream(response).write(event(tokenFrame(1))))
  const heard = generate(clientOf(server.url))
  await expect.poll(() => heard.tokens.length).toBe(1)
  heard.pause()
  heard.abort.abort(REASON)
  await expect(heard.done).rejects.toBe(REASON)
  await expect.poll(server.open).toBe(0)
})

test('an abort rejects at once when the server never reacts to the closed connection', async () => {
  const server = await serveTcp((socket) => {
    socket.once('data', () => {
      socket.pause()
      socket.write('HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n')
    })
  })
  const client = clientOf(server.url)
  const heard = generate(client)
  await expect.poll(server.received).toBeGreaterThan(0)
  await abortAtOnce(heard)
  await client.close()
})

test('an abort after the end changes nothing', async () => {
  const server = await serveHttp((response) => {
    startStream(response).end(
      event({
        ...tokenFrame(1),
        generated_text: 'a',
        details: { finish_reason: 'length', generated_tokens: 1 },
      }),
    )
  })
  const heard = generate(clientOf(server.url))
  await heard.done
  heard.abort.abort(REASON)
  heard.pause()
  heard.resume()
  expect(await heard.done).toMatchObject({ text: 'a' })
})

test('an over generation keeps no listener on its signal', async () => {
  const server = await serveHttp((response) => void response.writeHead(500).end())
  const { signal } = new AbortController()
  let listeners = 0
  const add = signal.addEventListener.bind(signal)
  const remove = signal.removeEventListener.bind(signal)
  signal.addEventListener = (...args: Parameters<typeof add>) => {
    listeners += 1
    add(...args)
  }
  signal.removeEventListener = (...args: Parameters<typeof remove>) => {
    listeners -= 1
    remove(...args)
  }
  await generate(clientOf(server.url), {}, { signal }).failure()
  expect(listeners).toBe(0)
})

test('close() breaks off all that is open, may be called twice, and later calls fail', async () => {
  const server = await serveHttp((response) => void startStream(response).write(event(tokenFrame(1))))
  const client = clientOf(server.url)
  const streams = [generate(client), generate(client), generate(client)]
  await expect.poll(() => streams.every(({ tokens }) => tokens.length === 1)).toBe(true)
  const health = client.health()
  health.catch(() => {})
  await Promise.all([client.close(), client.close()])
  for (const heard of streams) expect(await heard.failure()).toMatchObject({ kind: 'disconnected' })
  await expect(health).rejects.toMatchObject({ kind: 'disconnected' })
  await expect.poll(server.open).toBe(0)
  expect(await generate(client).failure()).toMatchObject({ kind: 'disconnected' })
  await expect(client.info()).rejects.toMatchObject({ kind: 'disconnected' })
})

/** What a server sends is bounded: each token, the whole answer, and every other response. */
import { describe, expect, test } from 'vitest'
import { endFrame, event, tokenFrame } from './frames.ts'
import { clientOf, failureOf, generate } from './listen.ts'
import type { ScriptedServer } from './scripted-server.ts'
import { serveHttp, serveStream, startStream } from './scripted-server.ts'

const top = (count: number, text = 'x') =>
  Array.from({ length: count }, (_, id) => ({ id, text, logprob: -1, special: false }))

/** A server that sends tokens until nobody listens, never so many events at once that memory is not to blame on the client. */
async function serveEndless(frame: (index: number) => string): Promise<ScriptedServer> {
  return serveHttp((response) => {
    startStream(response)
    let index = 0
    const more = () => {
      while (!response.destroyed && response.write(frame((index += 1))));
      response.once('drain', more)
    }
    more()
  })
}

/** A server whose responses never end. */
async function serveForever(): Promise<ScriptedServer> {
  return serveHttp((response) => {
    const more = () => {
      while (!response.destroyed && response.write('x'.repeat(65_536)));
      response.once('drain', more)
    }
    more()
  })
}

describe('an answer', () => {
  test.each([
    [
      'a token of a megabyte',
      { text: 'x'.repeat(1_000_000) },
      {},
      /token 3: expected an event of at most 65536 characters, got 10001\d\d$/,
    ],
    [
      'a token of 20,000 characters',
      { text: 'x'.repeat(20_000) },
      {},
      /token 3: expected a text of at most 16384 characters, got 20000$/,
    ],
    [
      'a field of its own of 70,000 characters',
      {},
      { padding: 'x'.repeat(70_000) },
      /token 3: expected an event of at most/,
    ],
    ['ten thousand likely tokens', {}, { top_tokens: top(10_000) }, /token 3: expected an event of at most/],
    ['an id beyond 32 bits', { id: 2 ** 32 }, {}, /not one of TGI's/],
  ])('with %s is malformed, and the tokens before stay', async (_, token, rest, message) => {
    const server = await serveStream(
      event(tokenFrame(1)) +
        event(tokenFrame(2)) +
        event(tokenFrame(3, token, rest)) +
        event(endFrame(4, '')),
    )
    const heard = generate(clientOf(server.url))
    expect(await heard.failure()).toMatchObject({
      kind: 'malformed',
      message: expect.stringMatching(message),
    })
    expect(heard.tokens).toHaveLength(2)
    await expect.poll(server.open).toBe(0)
  })

  test.each([
    ['plain', 'x'.repeat(16_000)],
    ['escaped to six times its length', '\u0001'.repeat(2700)],
    ['special', 'y'.repeat(16_000)],
  ])('of many %s tokens is malformed beyond a megabyte of text', async (what, text) => {
    const server = await serveEndless((index) =>
      event(tokenFrame(index, { text, special: what === 'special' })),
    )
    const heard = generate(clientOf(server.url), { maxNewTokens: 100_000 })
    expect(await heard.failure()).toMatchObject({
      kind: 'malformed',
      message: expect.stringMatching(/: expected an answer of at most 1048576 characters, got 10\d+$/),
    })
    expect(heard.tokens).toHaveLength(Math.floor(1_048_576 / (JSON.stringify(text).length - 2)))
    await expect.poll(server.open).toBe(0)
  })

  test('never has more likely tokens than were asked for', async () => {
    const body = event(tokenFrame(1, {}, { top_tokens: top(100) })) + event(endFrame(2, '', {}))
    for (const asked of [undefined, null, 0, 3]) {
      const heard = generate(clientOf((await serveStream(body)).url), { parameters: { top_n_tokens: asked } })
      await heard.done
      expect(heard.tokens[0]?.top?.length).toBe(asked === 3 ? 3 : undefined)
    }
  })

  test('has likely tokens of any number that was asked for', async () => {
    const body = event(tokenFrame(1, {}, { top_tokens: top(2000) })) + event(endFrame(2, ''))
    const heard = generate(clientOf((await serveStream(body)).url), { parameters: { top_n_tokens: 2000 } })
    await heard.done
    expect(heard.tokens[0]?.top).toHaveLength(2000)
  })

  test('of which the likely tokens grow without end is malformed', async () => {
    const text = 'z'.repeat(10_000)
    const server = await serveEndless((index) => event(tokenFrame(index, {}, { top_tokens: top(5, text) })))
    const heard = generate(clientOf(server.url), { maxNewTokens: 100, parameters: { top_n_tokens: 5 } })
    expect(await heard.failure()).toMatchObject({
      kind: 'malformed',
      message: expect.stringMatching(/expected likely tokens of at most \d+ characters/),
    })
    expect(heard.tokens.length).toBeLessThan(5)
  })

  test('whose prompt had more tokens than 32 bits count is malformed: sums of counts would overflow', async () => {
    const server = await serveStream(event(endFrame(1, 'x', {}, { input_length: Number.MAX_SAFE_INTEGER })))
    expect(await generate(clientOf(server.url)).failure()).toMatchObject({ kind: 'malformed' })
  })
})

describe('a response', () => {
  test.each([
    ['health', 'malformed', 65_536],
    ['info', 'not_tgi', 65_536],
    ['metrics', 'malformed', 4 * 1024 * 1024],
  ] as const)('of /%s that never ends is not read to its end', async (route, kind, bound) => {
    const server = await serveForever()
    const error = await failureOf(clientOf(server.url)[route]())
    expect(error).toMatchObject({ kind })
    if (kind === 'malformed')
      expect(error.message).toBe(`${server.url}/${route}: expected at most ${bound} bytes, got more`)
    await expect.poll(server.open).toBe(0)
  })

  test('of /tokenize may be as long as the prompt makes it, up to 10 MiB', async () => {
    const server = await serveForever()
    const client = clientOf(server.url)
    for (const [length, bound] of [
      [1, 1_048_576 + 128 * 14],
      [1_000_000, 10_485_760],
    ] as const) {
      const error = await failureOf(client.tokenize('x'.repeat(length)))
      expect(error.message).toBe(`${server.url}/tokenize: expected at most ${bound} bytes, got more`)
    }
  })

  test('of /tokenize with a million things that are no tokens is refused at the first', async () => {
    const server = await serveHttp((response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end(`[${'{},'.repeat(340_000)}{}]`)
    })
    const before = process.memoryUsage().heapUsed
    expect(await failureOf(clientOf(server.url).tokenize('x'))).toMatchObject({ kind: 'malformed' })
    // An issue for each would take some 500 MB.
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(150_000_000)
  })

  test('with heads beyond 16 KiB is not TGI', async () => {
    const server = await serveHttp((response) => {
      response.writeHead(200, { 'x-long': 'x'.repeat(20_000) }).end('{}')
    })
    expect(await failureOf(clientOf(server.url).info())).toMatchObject({ kind: 'not_tgi' })
  })

  test.each(['model_id', 'version'])('of /info with a %s of 1,000 characters is not TGI', async (field) => {
    const info = { model_id: 'm', version: '3', max_total_tokens: 10, [field]: 'x'.repeat(1000) }
    const server = await serveHttp((response) => {
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(info))
    })
    expect(await failureOf(clientOf(server.url).info())).toMatchObject({ kind: 'not_tgi' })
  })
})

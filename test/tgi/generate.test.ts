import { expect, test } from 'vitest'

import type { TgiTopToken } from '../../src/tgi/answer.ts'
import { answer, endFrame, event, KEEP_ALIVE, tokenFrame } from './frames.ts'
import { clientOf, generate, outcomeOf, PROMPT, textsOf } from './listen.ts'
import { serveHttp, serveStream, startStream } from './scripted-server.ts'

test('every token is told in order, the last one too, and the end carries what TGI counted', async () => {
  const server = await serveStream(
    event(tokenFrame(1, { id: 5, text: 'Once', logprob: -1.5 })) +
      event(tokenFrame(2, { id: 6, text: ' more', logprob: -0.25 })) +
      event(endFrame(3, 'Once more', { id: 2, text: '</s>', special: true, logprob: 0 })),
  )
  const client = clientOf(server.url)
  const heard = generate(client)

  expect(await heard.done).toEqual({
    finishReason: 'eos_token',
    text: 'Once more',
    tokensOut: 3,
    tokensIn: 7,
    cut: false,
  })
  expect(heard.tokens).toEqual([
    { id: 5, text: 'Once', logprob: -1.5, special: false },
    { id: 6, text: ' more', logprob: -0.25, special: false },
    { id: 2, text: '</s>', logprob: 0, special: true },
  ])
  await client.close()
  await expect.poll(server.open).toBe(0)
})

test('the request is the one TGI wants, under the prefix of the address', async () => {
  const server = await serveStream(answer(['a']))
  const client = clientOf(`${server.url}/models/one/`)
  expect(client.url).toBe(`${server.url}/models/one`)
  await generate(client, { parameters: { temperature: 0.7 }, seed: 42, maxNewTokens: 9 }).done

  const [request] = server.requests
  expect(request).toMatchObject({ method: 'POST', path: '/models/one/generate_stream' })
  expect(request?.headers).toMatchObject({
    'content-type': 'application/json',
    'accept-encoding': 'identity',
  })
  expect(request?.headers).not.toHaveProperty('authorization')
  expect(JSON.parse(request?.body ?? '')).toEqual({
    inputs: PROMPT,
    parameters: { temperature: 0.7, do_sample: false, max_new_tokens: 9, seed: 42, details: true },
  })
})

test('onRequestSent is told once, after the connection and before the first token', async () => {
  const told: string[] = []
  const server = await serveStream(answer(['a', 'b']))
  const heard = generate(
    clientOf(server.url),
    {},
    { onRequestSent: () => told.push('sent'), onToken: (token) => told.push(token.text) },
  )
  expect(told).toEqual([])
  await heard.done
  expect(told).toEqual(['sent', 'a', 'b'])
})

test('tokens are told while the stream goes on', async () => {
  const server = await serveHttp((response) => void startStream(response).write(event(tokenFrame(1))))
  const heard = generate(clientOf(server.url))
  await expect.poll(() => heard.tokens.length).toBe(1)
})

test('keep-alive comments may come before the first token and between any two', async () => {
  const server = await serveStream(
    KEEP_ALIVE +
      KEEP_ALIVE +
      event(tokenFrame(1, { text: 'a' })) +
      KEEP_ALIVE +
      event(endFrame(2, 'ab', { text: 'b' })),
  )
  const { end, tokens } = await outcomeOf(generate(clientOf(server.url)))
  expect(textsOf(tokens)).toEqual(['a', 'b'])
  expect(end.text).toBe('ab')
})

test('what older versions leave out is not missed', async () => {
  const { index: _index, ...first } = tokenFrame(1, { text: 'a', logprob: null })
  const { index: _last, ...last } = endFrame(2, 'ab', { text: 'b' }, { input_length: undefined })
  const server = await serveStream(`data:${JSON.stringify(first)}\n\ndata:${JSON.stringify(last)}\n\n`)
  const { end, tokens } = await outcomeOf(generate(clientOf(server.url)))
  expect(tokens[0]).toEqual({ id: 1001, text: 'a', logprob: null, special: false })
  expect(end).toMatchObject({ tokensIn: undefined, tokensOut: 2, text: 'ab' })
})

test('empty token texts are told like any other', async () => {
  const server = await serveStream(
    event(tokenFrame(1, { text: '' })) +
      event(tokenFrame(2, { text: '日' })) +
      event(endFrame(3, '日', { text: '' })),
  )
  const { tokens } = await outcomeOf(generate(clientOf(server.url)))
  expect(textsOf(tokens)).toEqual(['', '日', ''])
})

test('an empty final text falls back to the texts of the tokens that are not special', async () => {
  const server = await serveStream(
    event(tokenFrame(1, { text: 'caf' })) +
      event(tokenFrame(2, { text: '<pad>', special: true })) +
      event(endFrame(3, '', { text: '\ufffd' }, { finish_reason: 'length' })),
  )
  expect(await generate(clientOf(server.url)).done).toMatchObject({
    text: 'caf\ufffd',
    finishReason: 'length',
  })
})

test('an empty final text stays empty when only special tokens came', async () => {
  const server = await serveStream(event(endFrame(1, '', { text: '</s>', special: true })))
  expect(await generate(clientOf(server.url)).done).toMatchObject({ text: '', tokensOut: 1, cut: false })
})

test('top tokens are told when they are there and left out when they are not', async () => {
  const top: TgiTopToken[] = [{ id: 1, text: 'x', logprob: null, special: false }]
  const server = await serveStream(
    event(tokenFrame(1, { text: 'x' }, { top_tokens: top })) + event(endFrame(2, 'xy', { text: 'y' })),
  )
  const asked = { parameters: { top_n_tokens: 1 } }
  const { tokens } = await outcomeOf(generate(clientOf(server.url), asked))
  expect(tokens[0]?.top).toEqual(top)
  expect(tokens[1]).not.toHaveProperty('top')
})

test('a seed beyond the safe integers in the details disturbs nothing', async () => {
  const last = event(endFrame(1, 'a')).replace('"seed":null', '"seed":18446744073709551615')
  const server = await serveStream(last)
  expect(await generate(clientOf(server.url)).done).toMatchObject({ text: 'a' })
})

test('nothing after the end counts: neither tokens nor an error', async () => {
  const server = await serveStream(
    answer(['a', 'b']) + event(tokenFrame(3)) + event({ error: 'late', error_type: 'generation' }),
  )
  const { end, tokens } = await outcomeOf(generate(clientOf(server.url)))
  expect(end.text).toBe('ab')
  expect(textsOf(tokens)).toEqual(['a', 'b'])
})

test('a server that keeps the connection after the end is hung up on', async () => {
  const server = await serveHttp((response) => void startStream(response).write(answer(['a'])))
  await generate(clientOf(server.url)).done
  await expect.poll(server.open).toBe(0)
})

test('an overshoot over the limit is cut at the limit and the socket closed', async () => {
  const frames = Array.from({ length: 6 }, (_, at) => event(tokenFrame(at + 1, { text: String(at) })))
  const server = await serveHttp((response) => void startStream(response).write(frames.join('')))
  const { end, tokens } = await outcomeOf(generate(clientOf(server.url), { maxNewTokens: 4 }))
  expect(end).toEqual({ finishReason: 'length', text: '0123', tokensOut: 4, tokensIn: undefined, cut: true })
  expect(tokens).toHaveLength(4)
  await expect.poll(server.open).toBe(0)
})

test('an end on the very token of the limit is the real end', async () => {
  const server = await serveStream(
    event(tokenFrame(1)) + event(endFrame(2, ' t1 t2', {}, { finish_reason: 'stop_sequence' })),
  )
  expect(await generate(clientOf(server.url), { maxNewTokens: 2 }).done).toMatchObject({
    finishReason: 'stop_sequence',
    cut: false,
    tokensIn: 7,
  })
})

test('an answer that stops short of the limit by length passes through', async () => {
  const server = await serveStream(
    event(tokenFrame(1)) + event(endFrame(2, 'ab', {}, { finish_reason: 'length' })),
  )
  expect(await generate(clientOf(server.url), { maxNewTokens: 2048 }).done).toMatchObject({
    finishReason: 'length',
    tokensOut: 2,
    cut: false,
  })
})

test('what onToken throws ends the generation and closes the socket', async () => {
  const server = await serveHttp(
    (response) => void startStream(response).write(answer(['a', 'b']).slice(0, -1)),
  )
  const fault = new Error('no room')
  const heard = generate(
    clientOf(server.url),
    {},
    {
      onToken: () => {
        throw fault
      },
    },
  )
  await expect(heard.done).rejects.toBe(fault)
  await expect.poll(server.open).toBe(0)
})

test('what onRequestSent throws ends the generation', async () => {
  const server = await serveHttp(() => {})
  const fault = new Error('no room')
  const heard = generate(
    clientOf(server.url),
    {},
    {
      onRequestSent: () => {
        throw fault
      },
    },
  )
  await expect(heard.done).rejects.toBe(fault)
  await expect.poll(server.open).toBe(0)
})

test('an abort from inside onRequestSent is as good as any other', async () => {
  const server = await serveHttp(() => {})
  const abort = new AbortController()
  const reason = new Error('changed my mind')
  const heard = generate(
    clientOf(server.url),
    {},
    { signal: abort.signal, onRequestSent: () => abort.abort(reason) },
  )
  await expect(heard.done).rejects.toBe(reason)
  await expect.poll(server.open).toBe(0)
})

import { inspect } from 'node:util'

import { expect, test } from 'vitest'

import { createTgiClient } from '../../src/tgi/client.ts'
import { answer, endFrame, errorFrame, event, tokenFrame } from './frames.ts'
import { clientOf, failureOf, generate, PROMPT } from './listen.ts'
import { serveHttp, serveStream, serveTcp, startStream, unusedUrl } from './scripted-server.ts'

const HEAD = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n'

function chunk(text: string): string {
  return `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`
}

const IN_STREAM = [
  ['overloaded', 'overloaded', 'Model is overloaded'],
  ['validation', 'validation', 'Input validation error: `inputs` cannot be empty'],
  ['generation', 'generation', 'Request failed during generation: Server error: CUDA out of memory'],
  ['incomplete_generation', 'incomplete', 'Incomplete generation'],
  ['incomplete_generation_stream', 'incomplete', 'Incomplete generation stream'],
  ['stream_serialization_error', 'incomplete', 'Stream event serialization error'],
  ['constructor', 'generation', 'a type that nobody knows'],
] as const

test.each(IN_STREAM)('the error event %s inside a 200 is %s', async (type, kind, text) => {
  const server = await serveStream(event(errorFrame(type, text)))
  const heard = generate(clientOf(server.url))
  const error = await heard.failure()
  const message = kind === 'validation' ? text : `${server.url}: ${text}`
  expect(error).toMatchObject({ kind, status: undefined, message })
  expect(heard.tokens).toEqual([])
})

test.each(IN_STREAM)(
  'the error event %s after tokens leaves them told and is %s',
  async (type, kind, text) => {
    const server = await serveStream(
      event(tokenFrame(1)) + event(tokenFrame(2)) + event(errorFrame(type, text)),
    )
    const heard = generate(clientOf(server.url))
    expect(await heard.failure()).toMatchObject({ kind })
    expect(heard.tokens).toHaveLength(2)
  },
)

test('a long error of many lines is told in one short line', async () => {
  const server = await serveStream(
    event(errorFrame('generation', `Traceback:\n\u001b[31m${'x '.repeat(5000)}`)),
  )
  const error = await generate(clientOf(server.url)).failure()
  expect(error.message).toMatch(/^http:\S+: Traceback: \[31mx x /)
  expect(error.message.length).toBeLessThanOrEqual(`${server.url}: `.length + 200)
})

const REFUSALS = [
  [400, 'refused', 'Failed to parse the request body as JSON: EOF while parsing', /EOF while parsing/],
  [415, 'refused', 'Expected request with `Content-Type: application/json`', /Content-Type/],
  [
    422,
    'refused',
    `Failed to deserialize the JSON body into the target type: parameters.stop: invalid type: string "${PROMPT}", expected a sequence at line 1 column 9`,
    /\(HTTP 422\): parameters\.stop: invalid type$/,
  ],
  [
    422,
    'refused',
    `Failed to deserialize the JSON body into the target type: parameters.${PROMPT}: strange at line 1 column 9`,
    /\(HTTP 422\): a field has the wrong type$/,
  ],
  [413, 'too_large', 'Failed to buffer the request body: length limit exceeded', /length limit exceeded/],
  [404, 'not_tgi', '', /HTTP 404/],
  [500, 'http', 'boom\r\nboom', /HTTP 500: boom boom$/],
  [301, 'http', '', /HTTP 301$/],
] as const

test.each(REFUSALS)('HTTP %i in plain text is %s', async (status, kind, body, message) => {
  const server = await serveHttp((response) => {
    response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(body)
  })
  const error = await generate(clientOf(server.url)).failure()
  expect(error).toMatchObject({ kind, status })
  expect(error.message).toMatch(message)
})

test('an error in JSON under another status than 200 is what it says', async () => {
  const server = await serveHttp((response) => {
    response
      .writeHead(429, { 'content-type': 'application/json' })
      .end('{"error":"Model is overloaded","error_type":"overloaded"}')
  })
  expect(await generate(clientOf(server.url)).failure()).toMatchObject({ kind: 'overloaded', status: 429 })
})

test('a page for people is not repeated', async () => {
  const server = await serveHttp((response) => {
    response.writeHead(502, { 'content-type': 'text/html' }).end(`<h1>Bad gateway</h1>${PROMPT}`)
  })
  const error = await generate(clientOf(server.url)).failure()
  expect(error.message).toBe(`${server.url} answered HTTP 502`)
})

test('a refusal that never ends is read only so far', async () => {
  const server = await serveHttp((response) => {
    response.writeHead(500, { 'content-type': 'text/plain' })
    response.write('x'.repeat(10_000))
  })
  expect(await generate(clientOf(server.url)).failure()).toMatchObject({ kind: 'http', status: 500 })
  await expect.poll(server.open).toBe(0)
})

test('401 with an empty body is unauthorized', async () => {
  const server = await serveHttp((response) => void response.writeHead(401).end())
  expect(await generate(clientOf(server.url)).failure()).toMatchObject({ kind: 'unauthorized', status: 401 })
})

test('the key is sent as a bearer token and in no error, even when the server repeats it', async () => {
  const apiKey = 'hf_VerySecretKey'
  const server = await serveHttp((response, { headers }) => {
    response
      .writeHead(400, { 'content-type': 'text/plain' })
      .end(`you said ${headers.authorization?.toLowerCase()}`)
  })
  const client = clientOf(server.url, { apiKey })
  for (const promise of [generate(client).done, client.health(), client.info(), client.tokenize('x')]) {
    const error = await failureOf(promise)
    expect(inspect(error, { depth: 10, showHidden: true }).toLowerCase()).not.toContain(apiKey.toLowerCase())
  }
  expect(server.requests.map(({ headers }) => headers.authorization)).toEqual(
    Array(4).fill(`Bearer ${apiKey}`),
  )
})

test('credentials inside the address go out as Basic and are not part of its name', async () => {
  const server = await serveHttp((response) => void response.end())
  const client = clientOf(server.url.replace('://', '://ann:p%40ss@'))
  await client.health()
  expect(client.url).toBe(server.url)
  expect(server.requests[0]?.headers.authorization).toBe(
    `Basic ${Buffer.from('ann:p@ss').toString('base64')}`,
  )
})

test.each([
  ['ftp://host:1', undefined],
  ['http//nobody:hidden@host', undefined],
  ['http://host', 'line\nbreak'],
  ['http://host', ''],
])('the address %s with the key %j is refused by name and without secrets', (url, apiKey) => {
  const refuse = () => createTgiClient({ url, apiKey })
  expect(refuse).toThrow(expect.objectContaining({ kind: 'CONFIG' }))
  expect(refuse).not.toThrow(/hidden|break/)
})

test('a clean end without a final event is a fault', async () => {
  const server = await serveStream(event(tokenFrame(1)) + event(tokenFrame(2)))
  const heard = generate(clientOf(server.url))
  expect(await heard.failure()).toMatchObject({ kind: 'no_final_event' })
  expect(heard.tokens).toHaveLength(2)
})

test('a clean end without any event, and one in mid-event, are faults', async () => {
  for (const body of ['', event(endFrame(1, 'a')).trimEnd()]) {
    const server = await serveStream(body)
    expect(await generate(clientOf(server.url)).failure()).toMatchObject({ kind: 'no_final_event' })
  }
})

test.each([
  ['closed', (socket: { end(): unknown }) => socket.end()],
  ['reset', (socket: { resetAndDestroy(): unknown }) => socket.resetAndDestroy()],
])('a body whose connection is %s in mid-stream is disconnected', async (_, hangUp) => {
  const server = await serveTcp((socket) => {
    socket.once('data', () => {
      socket.write(HEAD + chunk(event(tokenFrame(1))), () => void setTimeout(() => hangUp(socket), 20))
    })
  })
  const heard = generate(clientOf(server.url))
  expect(await heard.failure()).toMatchObject({ kind: 'disconnected' })
  expect(heard.tokens).toHaveLength(1)
})

test('a connection that is closed before any answer is disconnected, and nothing is sent twice', async () => {
  const server = await serveTcp((socket) => void socket.once('data', () => socket.end()))
  expect(await generate(clientOf(server.url)).failure()).toMatchObject({ kind: 'disconnected' })
  expect(server.accepted()).toBe(1)
})

test('a broken chunk is disconnected and its bytes are nowhere in the error', async () => {
  const server = await serveTcp((socket) => {
    socket.once('data', () => void socket.write(`${HEAD}${chunk(event(tokenFrame(1)))}zz private words\r\n`))
  })
  const error = await generate(clientOf(server.url)).failure()
  expect(error).toMatchObject({ kind: 'disconnected' })
  expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('private words')
})

test.each([
  ['not JSON', 'data: {"token": private words}\n\n'],
  ['another JSON', event({ hello: 'private words' })],
  ['[DONE]', 'data: [DONE]\n\n'],
  ['a token without a text', event({ ...tokenFrame(1), token: { id: 1, logprob: 0, special: false } })],
  ['an unknown finish reason', event(endFrame(1, 'a', {}, { finish_reason: 'bored' }))],
  ['an end without details', event({ ...endFrame(1, 'private words'), details: null })],
])('a frame that is %s is malformed, and not repeated', async (_, frame) => {
  const server = await serveStream(event(tokenFrame(1)) + frame + answer(['a']))
  const heard = generate(clientOf(server.url))
  const error = await heard.failure()
  expect(error).toMatchObject({ kind: 'malformed' })
  expect(inspect(error, { depth: 10, showHidden: true })).not.toContain('private words')
  expect(heard.tokens).toHaveLength(1)
})

test('a 200 that is no event stream is not TGI', async () => {
  const server = await serveHttp(
    (response) => void response.writeHead(200, { 'content-type': 'text/html' }).end('hi'),
  )
  const error = await generate(clientOf(server.url)).failure()
  expect(error).toMatchObject({ kind: 'not_tgi' })
  expect(error.message).toContain('text/html')
})

test('a server that speaks no HTTP is not TGI, and is connected to once', async () => {
  const server = await serveTcp((socket) => void socket.write('SSH-2.0-OpenSSH_9.2\r\n'))
  const error = await generate(clientOf(server.url)).failure()
  expect(['not_tgi', 'disconnected']).toContain(error.kind)
  expect(server.accepted()).toBe(1)
})

test('a 1xx head before the real one is passed over', async () => {
  const server = await serveHttp((response) => {
    response.writeEarlyHints({ link: '</x>; rel=preload' })
    startStream(response).end(answer(['a']))
  })
  expect(await generate(clientOf(server.url)).done).toMatchObject({ text: 'a' })
})

test('a port where nobody listens is a failure to connect, told with its address', async () => {
  const url = await unusedUrl()
  const error = await generate(clientOf(url)).failure()
  expect(error).toMatchObject({
    kind: 'connect',
    message: `cannot connect to ${url}: ECONNREFUSED`,
  })
  expect(error.cause).toBeInstanceOf(Error)
})

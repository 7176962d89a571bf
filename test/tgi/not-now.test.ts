import { expect, test } from 'vitest'

import { retryAfterMsOf } from '../../src/tgi/retry-after.ts'
import { errorFrame, event, tokenFrame } from './frames.ts'
import { clientOf, failureOf, generate, PROMPT } from './listen.ts'
import { serveHttp, serveStream, serveTcp } from './scripted-server.ts'

const NOW = Date.parse('Fri, 27 Nov 2026 12:00:00 GMT')

test.each<[name: string, header: string | undefined, ms: number | undefined]>([
  ['seconds', '3', 3000],
  ['seconds with space around them', ' 3 ', 3000],
  ['a part of a second', '0.5', 500],
  ['at once', '0', 0],
  ['more than we wait', '3600', 30_000],
  ['more than a number holds', '9'.repeat(400), 30_000],
  ['a date', 'Fri, 27 Nov 2026 12:00:07 GMT', 7000],
  ['a date of RFC 850', 'Friday, 27-Nov-26 12:00:07 GMT', 7000],
  ['a date of asctime', 'Fri Nov 27 12:00:07 2026', 7000],
  ['a date that has passed', 'Fri, 27 Nov 2026 11:00:00 GMT', 0],
  ['a date far away', 'Fri, 27 Nov 2099 12:00:00 GMT', 30_000],
  ['nothing', undefined, undefined],
  ['an empty one', '', undefined],
  ['less than nothing', '-1', undefined],
  ['words', 'soon', undefined],
  ['a number of another kind', '1e9', undefined],
  ['a date without a time zone', '2026-11-27', undefined],
  ['a date that is none', 'Fri, 99 Nov 2026 12:00:07 GMT', undefined],
])('Retry-After with %s', (_, header, ms) => {
  expect(retryAfterMsOf({ 'retry-after': header }, NOW)).toBe(ms)
})

test('a date in Retry-After counts from the clock of the server that says it', () => {
  const headers = { date: 'Fri, 27 Nov 2026 15:00:00 GMT', 'retry-after': 'Fri, 27 Nov 2026 15:00:09 GMT' }
  expect(retryAfterMsOf(headers, NOW)).toBe(9000)
})

test('of several Retry-After the longest counts', () => {
  expect(retryAfterMsOf({ 'retry-after': ['2', 'soon', '5'] }, NOW)).toBe(5000)
})

const BODIES = [
  ['no body', undefined, ''],
  ['plain text', 'text/plain', 'Too many requests'],
  ['a page', 'text/html', `<h1>Slow down</h1>${PROMPT}`],
  ['JSON of a proxy', 'application/json', '{"error":{"message":"rate limit","code":"429"}}'],
  [
    'JSON in TGI’s form with a type of another',
    'application/json',
    '{"error":"slow","error_type":"rate_limit"}',
  ],
  ['JSON of TGI', 'application/json', '{"error":"Model is overloaded","error_type":"overloaded"}'],
  ['JSON that is none', 'application/json', '{"error":'],
] as const

test.each(
  [429, 503, 529].flatMap((status) =>
    BODIES.map(([name, type, body]) => [status, name, type, body] as const),
  ),
)('HTTP %i with %s means not now, and for how long', async (status, _, type, body) => {
  const server = await serveHttp((response) => {
    if (type !== undefined) response.setHeader('content-type', type)
    response.writeHead(status, { 'retry-after': '3' }).end(body)
  })
  const error = await generate(clientOf(server.url)).failure()
  expect(error).toMatchObject({ kind: 'overloaded', status, retryAfterMs: 3000 })
  expect(error.message).toContain(`HTTP ${status}`)
  expect(error.message).toContain(server.url)
  expect(error.message).not.toContain(PROMPT)
})

test.each([429, 503])('HTTP %i without Retry-After names no time', async (status) => {
  const server = await serveHttp((response) => void response.writeHead(status).end())
  expect(await generate(clientOf(server.url)).failure()).toMatchObject({
    kind: 'overloaded',
    status,
    retryAfterMs: undefined,
  })
})

test('the overload that TGI tells inside a 200 names no time', async () => {
  const server = await serveStream(event(errorFrame('overloaded', 'Model is overloaded')))
  const error = await generate(clientOf(server.url)).failure()
  expect(error).toMatchObject({ kind: 'overloaded', status: undefined, retryAfterMs: undefined })
  expect(error.message).toBe(`${server.url}: Model is overloaded`)
})

test.each([408, 425, 500, 502, 504, 520, 524])('HTTP %i is a fault, whatever it asks for', async (status) => {
  const server = await serveHttp((response) => {
    response.writeHead(status, { 'retry-after': '3', 'content-type': 'text/plain' }).end('bad gateway')
  })
  const error = await generate(clientOf(server.url)).failure()
  expect(error).toMatchObject({ kind: 'http', status, retryAfterMs: undefined })
  expect(error.message).toBe(`${server.url} answered HTTP ${status}: bad gateway`)
})

test.each([
  ['422', 'validation', 'validation'],
  ['424', 'generation', 'generation'],
  ['503', 'healthcheck', 'unhealthy'],
])('HTTP %s with an error of TGI is what that says', async (status, type, kind) => {
  const server = await serveHttp((response) => {
    response.writeHead(Number(status)).end(JSON.stringify(errorFrame(type, 'why')))
  })
  expect(await generate(clientOf(server.url)).failure()).toMatchObject({ kind, status: Number(status) })
})

const HEAD = 'HTTP/1.1 429 Too Many Requests\r\nretry-after: 2\r\ncontent-type: text/plain\r\n'

test.each<[name: string, rest: string, hangUp: boolean]>([
  ['is cut off', 'content-length: 100\r\n\r\nbusy', true],
  ['does not end', 'content-length: 100\r\n\r\nbusy', false],
  ['does not begin', 'content-length: 100\r\n\r\n', false],
])('a refusal whose body %s is told by its head', async (_, rest, hangUp) => {
  const server = await serveTcp((socket) => {
    socket.once('data', () => {
      socket.write(HEAD + rest)
      if (hangUp) socket.end()
    })
  })
  const error = await generate(clientOf(server.url)).failure()
  expect(error).toMatchObject({ kind: 'overloaded', status: 429, retryAfterMs: 2000 })
  await expect.poll(server.open).toBe(0)
})

test('other routes say it, too', async () => {
  const server = await serveHttp((response) => void response.writeHead(429, { 'retry-after': '1' }).end())
  const client = clientOf(server.url)
  const expected = { kind: 'overloaded', status: 429, retryAfterMs: 1000 }
  expect(await failureOf(client.tokenize('a'))).toMatchObject(expected)
  expect(await failureOf(client.chatTokenize([]))).toMatchObject(expected)
})

test('every fault of an answer names the server', async () => {
  const broken = await serveStream(event(tokenFrame(1)) + 'data: {}\n\n')
  const silent = await serveHttp((response) =>
    response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders(),
  )
  for (const server of [broken, silent]) {
    const error = await generate(clientOf(server.url), {}, { firstTokenTimeoutMs: 50 }).failure()
    expect(error.message).toContain(server.url)
  }
})

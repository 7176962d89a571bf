import { expect, test } from 'vitest'

import { clientOf, failureOf, PROMPT } from './listen.ts'
import { serveHttp, serveTcp, unusedUrl } from './scripted-server.ts'

const INFO = {
  model_id: 'org/model',
  model_sha: null,
  model_pipeline_tag: 'text-generation',
  max_concurrent_requests: 128,
  max_best_of: 2,
  max_stop_sequences: 4,
  max_input_tokens: 4095,
  max_total_tokens: 4096,
  validation_workers: 2,
  max_client_batch_size: 4,
  router: 'text-generation-router',
  version: '3.3.6-dev0',
  sha: '0123456789abcdef0123456789abcdef01234567',
  docker_label: 'sha-0123456',
}

function json(value: unknown, status = 200) {
  return serveHttp((response) => {
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(value))
  })
}

function page(status: number, body: string, contentType = 'text/html') {
  return serveHttp((response) => void response.writeHead(status, { 'content-type': contentType }).end(body))
}

test('health resolves on 200 and is asked for under the prefix', async () => {
  const server = await serveHttp((response) => void response.end())
  await clientOf(`${server.url}/a/b`).health()
  expect(server.requests[0]).toMatchObject({ method: 'GET', path: '/a/b/health', body: '' })
  await expect.poll(server.open).toBe(0)
})

test.each([
  [503, 'unhealthy'],
  [404, 'not_tgi'],
  [401, 'unauthorized'],
  [500, 'http'],
])('health on %i is %s', async (status, kind) => {
  const server = await json({ error: 'unhealthy', error_type: 'healthcheck' }, status).then(async (tgi) =>
    status === 503 ? tgi : page(status, ''),
  )
  expect(await failureOf(clientOf(server.url).health())).toMatchObject({ kind, status })
})

test('health of a port where nobody listens is a failure to connect', async () => {
  expect(await failureOf(clientOf(await unusedUrl()).health())).toMatchObject({ kind: 'connect' })
})

test('health of a server that says nothing times out and hangs up', async () => {
  const server = await serveHttp(() => {})
  const error = await failureOf(clientOf(server.url).health({ timeoutMs: 50 }))
  expect(error).toMatchObject({
    kind: 'timeout',
    message: `${server.url}/health did not answer within 50 ms`,
  })
  await expect.poll(server.open).toBe(0)
})

test('a control call ends at once with the reason of its signal, before and during', async () => {
  const server = await serveHttp(() => {})
  const client = clientOf(server.url)
  const reason = new Error('enough')
  await expect(client.info({ signal: AbortSignal.abort(reason) })).rejects.toBe(reason)
  expect(server.accepted()).toBe(0)

  const abort = new AbortController()
  const call = client.info({ signal: abort.signal })
  await expect.poll(() => server.requests.length).toBe(1)
  abort.abort(reason)
  await expect(call).rejects.toBe(reason)
  await expect.poll(server.open).toBe(0)
})

test('a control call is not held up by streams or by other calls', async () => {
  const server = await serveHttp((response, { path }) => {
    if (path === '/info') response.end(JSON.stringify(INFO))
  })
  const client = clientOf(server.url)
  const stuck = Array.from({ length: 20 }, () => client.health({ timeoutMs: 60_000 }))
  const failures = Promise.all(stuck.map(failureOf))
  await client.info({ timeoutMs: 50_000 })
  await client.close()
  expect((await failures).map(({ kind }) => kind)).toEqual(Array(20).fill('disconnected'))
})

test('info tells what TGI tells', async () => {
  expect(await clientOf((await json(INFO)).url).info()).toMatchObject({
    modelId: 'org/model',
    maxTotalTokens: 4096,
    dockerLabel: 'sha-0123456',
  })
})

test.each([
  [
    'HTML under 200',
    200,
    '<!doctype html>\n<title>nginx</title>',
    /HTTP 200, text\/html, <!doctype html> <title>/,
  ],
  ['another JSON', 200, '{"model":"x"}', /HTTP 200, text\/html, \{"model":"x"\}$/],
  ['a bare list', 200, '[]', /HTTP 200/],
  ['nothing', 200, '', /an empty body$/],
  ['404', 404, 'Not Found', /HTTP 404, text\/html, Not Found$/],
])('%s on /info is not TGI, with what was got', async (_, status, body, message) => {
  const error = await failureOf(clientOf((await page(status, body)).url).info())
  expect(error).toMatchObject({ kind: 'not_tgi', status: status === 200 ? undefined : status })
  expect(error.message).toMatch(message)
})

test('a server that speaks no HTTP is not TGI', async () => {
  const server = await serveTcp(
    (socket) => void socket.once('data', () => socket.write('+PONG\r\n-ERR what\r\n')),
  )
  expect(await failureOf(clientOf(server.url).info())).toMatchObject({ kind: 'not_tgi' })
  await expect.poll(server.open).toBe(0)
})

test('an answer beyond its bound is not read to its end', async () => {
  const server = await serveHttp((response) => {
    const more = () => {
      while (response.write('x'.repeat(65_536)));
      response.once('drain', more)
    }
    more()
  })
  const client = clientOf(server.url)
  expect(await failureOf(client.info())).toMatchObject({ kind: 'not_tgi' })
  expect(await failureOf(client.tokenize('x'))).toMatchObject({ kind: 'malformed' })
  await expect.poll(server.open).toBe(0)
})

test('a proxy in front of a dead server is no reason to call it another program', async () => {
  expect(await failureOf(clientOf((await page(502, 'Bad gateway', 'text/plain')).url).info())).toMatchObject({
    kind: 'http',
    status: 502,
    message: expect.stringContaining('Bad gateway'),
  })
})

test('tokenize gives the spans of the prompt', async () => {
  const spans = [
    { id: 1, text: '<s>', start: 0, stop: 0 },
    { id: 22557, text: 'Hello', start: 0, stop: 5 },
  ]
  const server = await json(spans)
  expect(await clientOf(server.url).tokenize('Hello')).toEqual(spans)
  expect(server.requests[0]).toMatchObject({ method: 'POST', path: '/tokenize', body: '{"inputs":"Hello"}' })
})

test('chatTokenize gives the templated text and its spans', async () => {
  const spans = [{ id: 1, text: '<s>', start: 0, stop: 3 }]
  const server = await json({ tokenize_response: spans, templated_text: '<s>[INST] hi [/INST]' })
  const messages = [{ role: 'user', content: 'hi' }]
  expect(await clientOf(server.url).chatTokenize(messages)).toEqual({
    tokens: spans,
    templatedText: '<s>[INST] hi [/INST]',
  })
  expect(server.requests[0]).toMatchObject({ path: '/chat_tokenize', body: JSON.stringify({ messages }) })
})

test('a chat that the template refuses is a matter of validation, in words', async () => {
  const server = await json(
    { error: 'Template error: roles must alternate', error_type: 'template_error' },
    422,
  )
  expect(await failureOf(clientOf(server.url).chatTokenize([]))).toMatchObject({
    kind: 'validation',
    status: 422,
    message: 'Template error: roles must alternate',
  })
})

test('spans that are none are malformed, and the prompt stays out of it', async () => {
  const server = await json([{ id: 1, text: PROMPT }])
  const error = await failureOf(clientOf(server.url).tokenize(PROMPT))
  expect(error.kind).toBe('malformed')
  expect(error.cause).toBeUndefined()
})

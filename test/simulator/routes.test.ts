import { describe, expect } from 'vitest'
import type { Simulator } from '../../src/simulator/server.ts'
import { FIRST_BYTE_ID } from '../../src/simulator/vocabulary.ts'
import { open, send, test } from './support.ts'

/** Status and text of a refusal. */
async function refuse(simulator: Simulator, body: string, type?: string) {
  const headers = type === undefined ? {} : { 'content-type': type }
  const { status, text, headers: got } = await send(simulator, '/generate_stream', { body, headers })
  expect(got['content-type']).toBe('text/plain; charset=utf-8')
  return { status, text }
}

const byte = (value: number): number => FIRST_BYTE_ID + value

describe('the routes beside generation', () => {
  test('/info has the fields of TGI 3.3.7 in its order and says it is a simulator', async ({ simulate }) => {
    const answer = await send(await simulate({ modelId: 'm', maxTotalTokens: 100 }), '/info')
    expect(answer.text).toBe(
      '{"model_id":"m","model_sha":null,"model_pipeline_tag":"text-generation","max_concurrent_requests":128,' +
        '"max_best_of":2,"max_stop_sequences":4,"max_input_tokens":99,"max_total_tokens":100,' +
        '"validation_workers":2,"max_client_batch_size":4,"router":"tgi-pool-simulator",' +
        '"version":"3.3.6-dev0","sha":null,"docker_label":"sim"}',
    )
    expect(answer.headers['x-simulator']).toBe('tgi-pool')
  })

  test.for(['/health', '/ping', '/'])(
    '%s is 200 and empty when healthy, else 503',
    async (path, { simulate }) => {
      const simulator = await simulate({ apiKey: 'secret' })
      expect(await send(simulator, path)).toMatchObject({ status: 200, text: '' })
      simulator.setHealthy(false)
      const sick = await send(simulator, path)
      expect(sick).toMatchObject({ status: 503, text: '{"error":"unhealthy","error_type":"healthcheck"}' })
    },
  )

  test('/v1/models lists the one model', async ({ simulate }) => {
    const answer = await send(await simulate({ modelId: 'm' }), '/v1/models')
    const model = { id: 'm', object: 'model', created: 0, owned_by: 'm' }
    expect(answer.json()).toEqual({ object: 'list', data: [model] })
  })

  test('an unknown path is an empty 404', async ({ simulate }) => {
    const simulator = await simulate()
    expect(await send(simulator, '/nowhere')).toMatchObject({ status: 404, text: '' })
    expect(await send(simulator, '/v1/chat/completions', { body: {} })).toMatchObject({ status: 404 })
  })

  test('the wrong method is a 405 that names the right one', async ({ simulate }) => {
    const answer = await send(await simulate(), '/generate_stream')
    expect(answer).toMatchObject({ status: 405, text: '' })
    expect(answer.headers.allow).toBe('POST')
  })

  test('a preflight is answered and a query does not hide a path', async ({ simulate }) => {
    const simulator = await simulate()
    const preflight = await send(simulator, '/generate', { method: 'OPTIONS' })
    expect(preflight.status).toBe(200)
    expect(preflight.headers['access-control-allow-headers']).toBe('content-type')
    expect((await send(simulator, '/health?x=1')).status).toBe(200)
  })
})

describe('the API key', () => {
  const body = { inputs: 'x', parameters: { max_new_tokens: 1 } }

  test.for(['/generate', '/generate_stream', '/', '/tokenize'])('%s wants it', async (path, { simulate }) => {
    const simulator = await simulate({ apiKey: 'SeCret' })
    expect(await send(simulator, path, { body })).toMatchObject({ status: 401, text: '' })
    expect((await send(simulator, path, { body, headers: { authorization: 'Bearer no' } })).status).toBe(401)
    const right = await send(simulator, path, { body, headers: { authorization: 'bearer sECRET' } })
    expect(right.status).toBe(200)
  })

  test('/chat_tokenize is open', async ({ simulate }) => {
    const simulator = await simulate({ apiKey: 'k' })
    const chat = { messages: [{ role: 'user', content: 'hi' }] }
    expect((await send(simulator, '/chat_tokenize', { body: chat })).status).toBe(200)
  })
})

describe('bodies refused before any handler', () => {
  test.for([
    [
      '{"inputs": nonsense}',
      400,
      'Failed to parse the request body as JSON: inputs: expected ident at line 1 column 13',
    ],
    ['{"inputs":"a"', 400, 'Failed to parse the request body as JSON: EOF while parsing'],
    ['', 400, 'Failed to parse the request body as JSON: EOF while parsing a value at line 1 column 0'],
    ['{}', 422, 'Failed to deserialize the JSON body into the target type: missing field `inputs`'],
    [
      '{"inputs":7}',
      422,
      'target type: inputs: invalid type: integer `7`, expected a string at line 1 column',
    ],
    [
      '{"inputs":"a","parameters":null}',
      422,
      'parameters: invalid type: null, expected struct GenerateParameters',
    ],
    [
      '{"inputs":"a","parameters":{"max_new_tokens":-1}}',
      422,
      'parameters.max_new_tokens: invalid value: integer `-1`',
    ],
    [
      '{"inputs":"a","parameters":{"max_new_tokens":2.5}}',
      422,
      'invalid type: floating point `2.5`, expected u32',
    ],
    ['{"inputs":"a","parameters":{"max_new_tokens":"2"}}', 422, 'invalid type: string "2", expected u32'],
    ['{"inputs":"a","parameters":{"seed":18446744073709551616}}', 422, 'parameters.seed: invalid type'],
    [
      '{"inputs":"a","parameters":{"do_sample":null}}',
      422,
      'parameters.do_sample: invalid type: null, expected a boolean',
    ],
    [
      '{"inputs":"a","parameters":{"stop":null}}',
      422,
      'parameters.stop: invalid type: null, expected a sequence',
    ],
  ] as const)('%s', async ([body, status, text], { simulate }) => {
    const answer = await refuse(await simulate(), body)
    expect(answer.status).toBe(status)
    expect(answer.text).toContain(text)
  })

  test('null is welcome where TGI has an option', async ({ simulate }) => {
    const simulator = await simulate()
    const nulls = [
      'best_of',
      'temperature',
      'top_k',
      'top_p',
      'typical_p',
      'seed',
      'grammar',
      'truncate',
      'adapter_id',
    ]
    const parameters = {
      ...Object.fromEntries(nulls.map((name) => [name, null])),
      max_new_tokens: 1,
      unheard: 1,
    }
    const stream = await open(simulator, '/generate_stream', { body: { inputs: 'a', parameters, more: {} } })
    await stream.closed
    expect(stream.events()).toMatchObject([{ index: 1 }])
  })

  test('a wrong content type is 415 and a json suffix is fine', async ({ simulate }) => {
    expect(await refuse(await simulate(), '{}', 'text/plain')).toEqual({
      status: 415,
      text: 'Expected request with `Content-Type: application/json`',
    })
    expect((await refuse(await simulate(), '{}', 'application/vnd.x+json; charset=utf-8')).status).toBe(422)
  })

  test('a body past the limit is 413', async ({ simulate }) => {
    const body = JSON.stringify({ inputs: 'a'.repeat(2000) })
    expect(await refuse(await simulate({ payloadLimit: 1000 }), body)).toEqual({
      status: 413,
      text: 'Failed to buffer the request body: length limit exceeded',
    })
  })
})

describe('/tokenize and /chat_tokenize', () => {
  test('tokens come with <s> first and with offsets in UTF-8 bytes', async ({ simulate }) => {
    const simulator = await simulate()
    const answer = await send(simulator, '/tokenize', { body: { inputs: 'é🙂 river' } })
    expect(answer.json()).toMatchObject([
      { id: 1, text: '', start: 0, stop: 0 },
      { id: byte(0xc3), text: 'é', start: 0, stop: 2 },
      { id: byte(0xa9), text: 'é', start: 0, stop: 2 },
      { id: byte(0xf0), text: '🙂', start: 2, stop: 6 },
      { id: byte(0x9f) },
      { id: byte(0x99) },
      { id: byte(0x82) },
      { text: ' river', start: 6, stop: 12 },
    ])
    expect(simulator.state().requests_total).toBe(0)
  })

  test('a chat is rendered with the template, whose <s> doubles when its text is tokenized', async ({
    simulate,
  }) => {
    const simulator = await simulate()
    const messages = [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: [{ type: 'text', text: 'Hi' }], name: 'x' },
      { role: 'assistant', content: 'Yes' },
      { role: 'user', content: 'Go' },
    ]
    const answer = await send(simulator, '/chat_tokenize', { body: { messages, model: 'tgi' } })
    const chat: { templated_text: string; tokenize_response: { id: number }[] } = JSON.parse(answer.text)
    expect(chat.templated_text).toBe('<s>[SYS] Be brief. [/SYS][INST] Hi [/INST] Yes</s>[INST] Go [/INST]')
    const tokenize = async (inputs: string) => {
      const tokenized = await send(simulator, '/tokenize', { body: { inputs } })
      const tokens: { id: number }[] = JSON.parse(tokenized.text)
      return tokens.map(({ id }) => id)
    }
    const chatIds = chat.tokenize_response.map(({ id }) => id)
    expect(await tokenize(chat.templated_text)).toEqual([1, ...chatIds])
    expect(await tokenize(chat.templated_text.slice(3))).toEqual(chatIds)
  })

  test('an assistant message at the end stays open, and an unknown role is a template error', async ({
    simulate,
  }) => {
    const simulator = await simulate()
    const render = (role: string) =>
      send(simulator, '/chat_tokenize', { body: { messages: [{ role, content: 'Once' }] } })
    expect((await render('assistant')).json()).toMatchObject({ templated_text: '<s> Once' })
    expect(await render('wizard')).toMatchObject({
      status: 422,
      text: '{"error":"Template error: unknown role \\"wizard\\"","error_type":"template_error"}',
    })
  })
})

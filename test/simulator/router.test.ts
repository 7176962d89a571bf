/**
 * Holds the simulator to what TGI's router answers. The bodies were recorded from the router's own request types (router/src/lib.rs,
 * TGI 3.3.7) under serde 1.0.219, serde_json 1.0.140 and serde_path_to_error 0.1.17, as its lock file has them; all else from the
 * router itself, with a shard behind it. Known differences that stay: the OpenAI routes, `/vertex` and `/invocations` are not there.
 */
import { readFile } from 'node:fs/promises'
import { describe, expect } from 'vitest'
import { generate, open, send, test } from './support.ts'

const PATHS = { generate: '/generate', compat: '/', chat: '/chat_tokenize' } as const
const PREFIXES = {
  400: 'Failed to parse the request body as JSON: ',
  422: 'Failed to deserialize the JSON body into the target type: ',
} as const

describe('bodies', () => {
  test('are taken and refused in the same words, at the same place', async ({ simulate }) => {
    const file = new URL('recorded-bodies.json', import.meta.url)
    const recorded: [route: keyof typeof PATHS, body: string, answer: string][] = JSON.parse(
      await readFile(file, 'utf8'),
    )
    const simulator = await simulate({ maxTotalTokens: 20 })
    const answers: unknown[] = []
    const wanted: unknown[] = []
    for (const [route, body, answer] of recorded) {
      const { status, text, headers } = await send(simulator, PATHS[route], { body })
      // A body that was read may still be refused for what it asks: that is another answer, in JSON.
      const isText = headers['content-type'] === 'text/plain; charset=utf-8'
      answers.push([route, body, isText ? { status, text } : '200'])
      const code = answer.startsWith('422') ? 422 : 400
      const isRead = answer === '200'
      wanted.push([
        route,
        body,
        isRead ? answer : { status: code, text: PREFIXES[code] + answer.slice('422 '.length) },
      ])
    }
    expect(answers).toEqual(wanted)
  })

  test('text after the document is not looked at, and bytes that are no UTF-8 are refused where they end', async ({
    simulate,
  }) => {
    const simulator = await simulate()
    const taken = { inputs: 'x', parameters: { max_new_tokens: 1 } }
    expect((await send(simulator, '/generate', { body: `${JSON.stringify(taken)} and more` })).status).toBe(
      200,
    )
    const body = Buffer.from('{"inputs":"caf\xe9"}', 'latin1')
    const headers = { 'content-type': 'application/json' }
    expect(await (await fetch(`${simulator.url}/generate`, { method: 'POST', body, headers })).text()).toBe(
      `${PREFIXES[400]}inputs: invalid unicode code point at line 1 column 16`,
    )
  })

  test('positional arrays are requests', async ({ simulate }) => {
    const simulator = await simulate()
    const parameters = [null, null, null, null, null, null, null, false, 3]
    const answer = await send(simulator, '/generate', { body: ['x', parameters] })
    expect(answer.status).toBe(200)
    expect(answer.headers['x-generated-tokens']).toBe('3')
  })
})

test.for([
  [{ type: 'json', value: {} }, "grammar is not valid: Grammar must have a 'properties' field"],
  [{ type: 'json', value: [] }, 'grammar is not supported'],
  [{ type: 'json', value: '{"a' }, 'grammar is not valid: EOF while parsing a string at line 1 column 3'],
  [{ type: 'json', value: '{} x' }, 'grammar is not valid: trailing characters at line 1 column 4'],
  [{ type: 'json', value: { properties: 5 } }, 'grammar is not valid: 5 is not of type "object"'],
  [
    { type: 'json', value: { properties: { a: { type: 'nosuch' } } } },
    `grammar is not valid: "nosuch" is not valid under any of the schemas listed in the 'anyOf' keyword`,
  ],
  [
    { type: 'json', value: { properties: { a: { type: 'string', format: 'nosuch' } } } },
    'cannot compile regex from schema: Format nosuch is not supported by Outlines',
  ],
  [
    { type: 'json_schema', value: { schema: null } },
    'grammar is not valid: null is not of types "boolean", "object"',
  ],
] as const)('the grammar %j is refused', async ([grammar, message], { simulate }) => {
  const simulator = await simulate()
  const answer = await send(simulator, '/generate', { body: { inputs: 'x', parameters: { grammar } } })
  expect(answer).toMatchObject({ status: 422 })
  expect(answer.json()).toEqual({ error: `Input validation error: ${message}`, error_type: 'validation' })
})

test('a broken regex is not looked at', async ({ simulate }) => {
  const parameters = { max_new_tokens: 1, grammar: { type: 'regex', value: '[' } }
  expect((await send(await simulate(), '/generate', { body: { inputs: 'x', parameters } })).status).toBe(200)
})

const ONE = { max_new_tokens: 1 }
const SLOW = { kind: 'slow-prefill', ms: 300, match: 'slow' } as const

describe('/health', () => {
  test('waits until the prefills under way are over', async ({ simulate }) => {
    const simulator = await simulate({ faults: [SLOW] })
    const slow = await open(simulator, '/generate_stream', { body: { inputs: 'slow', parameters: ONE } })
    await expect.poll(() => simulator.state().requests[0]?.state).toBe('prefill')
    expect((await send(simulator, '/health')).status).toBe(200)
    expect(simulator.state().requests[0]?.state).not.toBe('prefill')
    await slow.closed
  })

  test('waits, too, behind a prefill whose client has left', async ({ simulate }) => {
    const simulator = await simulate({ faults: [SLOW] })
    const slow = await open(simulator, '/generate_stream', { body: { inputs: 'slow', parameters: ONE } })
    await expect.poll(() => simulator.state().running).toBe(1)
    slow.destroy()
    expect((await send(simulator, '/health')).status).toBe(200)
    await expect.poll(() => simulator.state().running).toBe(0)
  })

  test('is a prefill after a generation error, and 503 while that fails', async ({ simulate }) => {
    const simulator = await simulate({
      faults: [
        { kind: 'generation-error', match: 'bad' },
        { kind: 'generation-error', path: '/health', times: 2 },
      ],
    })
    const status = async () => (await send(simulator, '/health')).status
    expect(await status()).toBe(200)
    expect((await generate(simulator, 'bad')).at(-1)).toMatchObject({ error_type: 'generation' })
    expect([await status(), await status(), await status()]).toEqual([503, 503, 200])
  })
})

test('/metrics has the 25 families of TGI once all of them have been used', async ({ simulate }) => {
  const simulator = await simulate({ faults: [{ kind: 'generation-error', match: 'bad' }, SLOW] })
  const slow = await open(simulator, '/generate_stream', { body: { inputs: 'slow', parameters: ONE } })
  await expect.poll(() => simulator.state().running).toBe(1)
  await generate(simulator, 'x')
  await generate(simulator, 'bad')
  await slow.closed
  const { text } = await send(simulator, '/metrics')
  const families = text.match(/(?<=# TYPE )\w+/g) ?? []
  const batch = ['inference_count', 'inference_success', 'inference_failure', 'inference_duration'].concat(
    ['forward_duration', 'decode_duration', 'filter_duration', 'concat_duration', 'concat'],
    ['current_size', 'current_max_tokens', 'next_size'],
  )
  const request = ['count', 'success', 'failure', 'duration', 'validation_duration', 'queue_duration'].concat(
    ['inference_duration', 'mean_time_per_token_duration', 'generated_tokens', 'input_length'],
    ['max_new_tokens', 'skipped_tokens'],
  )
  expect(families.toSorted()).toEqual(
    [
      'tgi_queue_size',
      ...batch.map((name) => `tgi_batch_${name}`),
      ...request.map((name) => `tgi_request_${name}`),
    ].toSorted(),
  )
  expect(text).toContain('tgi_batch_inference_success{method="prefill"} 3\n')
  expect(text).toContain('tgi_batch_concat{reason="chunking"} 2\n')
  expect(text).not.toMatch(/# HELP tgi_(?:request_failure|batch_concat|batch_inference_failure)/)
})

describe('answers', () => {
  test('best_of tells the others too, in the order of their fields', async ({ simulate }) => {
    const parameters = { best_of: 2, do_sample: true, details: true, max_new_tokens: 3 }
    const { text, json } = await send(await simulate(), '/generate', { body: { inputs: 'x', parameters } })
    expect(json()).toMatchObject({ details: { best_of_sequences: [{ generated_tokens: 3, prefill: [] }] } })
    expect(text).toMatch(
      /"tokens":\[.*\],"best_of_sequences":\[\{"generated_text":.*"finish_reason":"length"/,
    )
  })

  test('a seed of 2^64 - 1 comes back digit by digit', async ({ simulate }) => {
    const body =
      '{"inputs":"x","parameters":{"seed":18446744073709551615,"do_sample":true,"details":true,"max_new_tokens":1}}'
    expect((await send(await simulate(), '/generate', { body })).text).toContain(
      '"seed":18446744073709551615',
    )
  })
})

test('the documentation is there', async ({ simulate }) => {
  const simulator = await simulate()
  expect(await send(simulator, '/docs')).toMatchObject({ status: 303, headers: { location: '/docs/' } })
  expect((await send(simulator, '/docs/')).status).toBe(200)
  const description = (await send(simulator, '/api-doc/openapi.json')).json()
  expect(description).toMatchObject({ openapi: '3.0.3', paths: { '/generate_stream': { post: {} } } })
})

test.for(['/v1/chat/completions', '/v1/completions', '/vertex', '/invocations'])(
  '%s is a known difference: it is not there',
  async (path, { simulate }) => {
    expect((await send(await simulate(), path, { body: {} })).status).toBe(404)
  },
)

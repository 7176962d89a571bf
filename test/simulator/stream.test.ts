import { describe, expect } from 'vitest'
import { createManualClock } from '../support/manual-clock.ts'
import { generate, ids, joined, open, send, test } from './support.ts'

describe('the bytes of a stream', () => {
  test('200 and its headers come before validation', async ({ simulate }) => {
    const stream = await open(await simulate(), '/generate_stream', { body: { inputs: '' } })
    expect(stream.status).toBe(200)
    expect(stream.headers).toMatchObject({
      'content-type': 'text/event-stream',
      'cache-control': 'no-cache',
      'x-accel-buffering': 'no',
      'x-compute-type': 'gpu+optimized',
      'x-compute-characters': '0',
      'access-control-allow-origin': '*',
    })
    expect(await stream.closed).toBe('end')
    expect(stream.text()).toBe(
      'data: {"error":"Input validation error: `inputs` cannot be empty","error_type":"validation"}\n\n',
    )
  })

  test('headers come while the prompt is still being prefilled', async ({ simulate }) => {
    const simulator = await simulate({ prefillMs: 60_000 })
    const stream = await open(simulator, '/generate_stream', { body: { inputs: 'a🙂' } })
    expect(stream.headers['x-compute-characters']).toBe('2')
    expect(stream.text()).toBe('')
    expect(simulator.state()).toMatchObject({ open_requests: 1, permits_in_use: 1 })
    stream.destroy()
  })

  test('token events and the last event have exactly this shape', async ({ simulate }) => {
    const stream = await open(await simulate(), '/generate_stream', {
      body: { inputs: 'Hi', parameters: { max_new_tokens: 2, details: true } },
    })
    await stream.closed
    const number = String.raw`-\d+\.\d+`
    const token = String.raw`"token":\{"id":\d+,"text":"[^"]*","logprob":${number},"special":false\}`
    expect(stream.text()).toMatch(
      new RegExp(
        String.raw`^data: \{"index":1,${token},"generated_text":null,"details":null\}\n\n` +
          String.raw`data: \{"index":2,${token},"generated_text":"[^"]+","details":\{"finish_reason":"length",` +
          String.raw`"generated_tokens":2,"seed":null,"input_length":3\}\}\n\n$`,
      ),
    )
  })

  test('details stay null unless asked for', async ({ simulate }) => {
    const events = await generate(await simulate(), 'Hi', { details: false })
    expect(events.at(-1)).toMatchObject({ generated_text: joined(events), details: null })
  })

  test('top_tokens come only when asked for', async ({ simulate }) => {
    const simulator = await simulate()
    const plain = await generate(simulator, 'Hi')
    expect(plain.every((event) => !('top_tokens' in event))).toBe(true)
    for (const event of await generate(simulator, 'Hi', { top_n_tokens: 3 })) {
      const top = event.top_tokens ?? []
      expect(top[0]).toEqual(event.token)
      expect(new Set(top.map(({ id }) => id)).size).toBe(3)
      expect(top.map(({ logprob }) => logprob)).toEqual(
        top.map(({ logprob }) => logprob).toSorted((a, b) => b - a),
      )
    }
  })

  test('a stream that is silent gets comments, before its first token too', async ({ simulate }) => {
    const clock = createManualClock()
    const simulator = await simulate({ clock, prefillMs: 60_000 })
    const stream = await open(simulator, '/generate_stream', { body: { inputs: 'x' } })
    clock.advance(3 * 15_000)
    await expect.poll(() => stream.text()).toBe(':\n\n'.repeat(3))
    stream.destroy()
  })

  test('paced tokens come one write each', async ({ simulate }) => {
    const clock = createManualClock()
    const simulator = await simulate({ clock, tokensPerSecond: 100 })
    const stream = await open(simulator, '/generate_stream', {
      body: { inputs: 'x', parameters: { max_new_tokens: 10 } },
    })
    for (let count = 1; count < 10; count += 1) {
      await expect.poll(() => stream.chunks.length, { interval: 1 }).toBe(count)
      clock.advance(5)
      expect(simulator.state().tokens_total).toBe(count)
      clock.advance(5)
      expect(simulator.state().tokens_total).toBe(count + 1)
    }
    expect(await stream.closed).toBe('end')
    expect(stream.chunks.length).toBe(10)
  })
})

describe('how an answer ends', () => {
  test('by length, exactly', async ({ simulate }) => {
    const events = await generate(await simulate(), 'x', { max_new_tokens: 7 })
    expect(events.map(({ index }) => index)).toEqual([1, 2, 3, 4, 5, 6, 7])
    expect(events.at(-1)).toMatchObject({ details: { finish_reason: 'length', generated_tokens: 7 } })
  })

  test('by </s>, a special token that counts and is not in the text', async ({ simulate }) => {
    const events = await generate(await simulate(), 'x [eos:3]')
    expect(events.at(-1)).toMatchObject({
      token: { id: 2, text: '</s>', special: true },
      generated_text: joined(events),
      details: { finish_reason: 'eos_token', generated_tokens: 4 },
    })
    expect(joined(events)).not.toContain('</s>')
  })

  test('by a stop sequence, which stays in the text', async ({ simulate }) => {
    const simulator = await simulate()
    const words = joined(await generate(simulator, 'x')).split(' ')
    const stop = ` ${words[4]} ${words[5]}`
    const events = await generate(simulator, 'x', { stop: ['never', stop] })
    expect(events.at(-1)?.details?.finish_reason).toBe('stop_sequence')
    expect(joined(events).endsWith(stop)).toBe(true)
    expect(events.at(-1)?.generated_text).toBe(joined(events))
  })

  test('length is tested before </s> and stop', async ({ simulate }) => {
    const events = await generate(await simulate(), 'x [eos:0]', { max_new_tokens: 1, stop: ['</s>'] })
    expect(events).toMatchObject([{ token: { special: true }, details: { finish_reason: 'length' } }])
  })

  test('inside a character the whole text decodes to nothing', async ({ simulate }) => {
    const simulator = await simulate()
    const cut = await generate(simulator, 'x [emoji:2]', { max_new_tokens: 5 })
    expect(cut.slice(2).map(({ token }) => token?.text)).toEqual(['', '', ''])
    expect(cut.at(-1)?.generated_text).toBe('')
    const whole = await generate(simulator, 'x [emoji:2]', { max_new_tokens: 6 })
    expect(whole.at(-1)?.token?.text).toBe('🙂')
    expect(whole.at(-1)?.generated_text).toBe(joined(whole))
  })

  test('return_full_text puts the prompt before the last text only', async ({ simulate }) => {
    const events = await generate(await simulate(), 'My prompt', { return_full_text: true })
    expect(events.at(-1)?.generated_text).toBe(`My prompt${joined(events)}`)
  })
})

describe('slices of 1024 tokens', () => {
  test('more than 1024 tokens overshoot to a multiple of 1024, the text unbroken', async ({ simulate }) => {
    const events = await generate(await simulate(), 'x', { max_new_tokens: 1500 })
    expect(events.at(-1)?.details).toMatchObject({
      finish_reason: 'length',
      generated_tokens: 2048,
      input_length: 2,
    })
    expect(events.at(-1)?.generated_text).toBe(joined(events))
    expect(events.map(({ index }) => index)).toEqual(Array.from({ length: 2048 }, (_, at) => at + 1))
  })

  test('they stop early when the context is full, and fill it when nothing was asked', async ({
    simulate,
  }) => {
    const simulator = await simulate({ maxTotalTokens: 1600 })
    const early = await generate(simulator, 'x', { max_new_tokens: 1500 })
    expect(early.at(-1)?.details).toMatchObject({ finish_reason: 'length', generated_tokens: 1024 })
    const filled = await generate(simulator, 'x', { max_new_tokens: null })
    // A second slice tokenizes the text again; where pieces merged there is room for a little more.
    const { generated_tokens: tokens = 0 } = filled.at(-1)?.details ?? {}
    expect(tokens).toBeGreaterThanOrEqual(1598)
    expect(tokens).toBeLessThan(1640)
  })
})

describe('sampling', () => {
  test('absent parameters sample, empty ones do not', async ({ simulate }) => {
    const simulator = await simulate({ maxTotalTokens: 50 })
    const body = async (given: object) => {
      const stream = await open(simulator, '/generate_stream', { body: { inputs: 'x', ...given } })
      await stream.closed
      return stream.text()
    }
    expect(await body({})).not.toBe(await body({}))
    expect(await body({ parameters: {} })).toBe(await body({ parameters: {} }))
  })

  test('greedy ignores the seed and tells none', async ({ simulate }) => {
    const simulator = await simulate()
    const one = await generate(simulator, 'x', { seed: 1 })
    expect(await generate(simulator, 'x', { seed: 2, temperature: 1 })).toEqual(one)
    expect(one.at(-1)?.details?.seed).toBeNull()
  })

  test.for([{ do_sample: true }, { temperature: 0.7 }, { top_p: 0.9 }, { top_k: 9 }, { typical_p: 0.9 }])(
    'with %j the seed decides and is told',
    async (parameters, { simulate }) => {
      const simulator = await simulate()
      const one = await generate(simulator, 'x', { ...parameters, seed: 1 })
      expect(await generate(simulator, 'x', { ...parameters, seed: 1 })).toEqual(one)
      expect(ids(await generate(simulator, 'x', { ...parameters, seed: 2 }))).not.toEqual(ids(one))
      expect(one.at(-1)?.details?.seed).toBe(1)
    },
  )

  test('a seed of 64 bits comes back digit by digit', async ({ simulate }) => {
    const stream = await open(await simulate(), '/generate_stream', {
      body: '{"inputs":"x","parameters":{"do_sample":true,"details":true,"max_new_tokens":1,"seed":18446744073709551615}}',
    })
    await stream.closed
    expect(stream.text()).toContain('"seed":18446744073709551615,')
  })

  test('top_k 1 leaves one choice, whose logprob is 0.0', async ({ simulate }) => {
    const simulator = await simulate()
    const greedy = await generate(simulator, 'x')
    const stream = await open(simulator, '/generate_stream', {
      body: { inputs: 'x', parameters: { top_k: 1, max_new_tokens: 20, seed: 4 } },
    })
    await stream.closed
    expect(ids(stream.events())).toEqual(ids(greedy))
    expect(stream.text()).toContain('"logprob":0.0,')
  })

  test('the text depends on the company it runs in only where that is asked for', async ({ simulate }) => {
    const together = async (batchDivergence: boolean) => {
      const simulator = await simulate({ batchDivergence, prefillMs: 5 })
      const alone = await generate(simulator, 'x', { max_new_tokens: 100 })
      const answers = await Promise.all(
        Array.from({ length: 4 }, () => generate(simulator, 'x', { max_new_tokens: 100 })),
      )
      expect(ids(await generate(simulator, 'x', { max_new_tokens: 100 }))).toEqual(ids(alone))
      return answers.every((events) => joined(events) === joined(alone))
    }
    expect(await together(false)).toBe(true)
    expect(await together(true)).toBe(false)
  })
})

describe('the routes that do not stream', () => {
  test('/generate answers once, with timing headers, and with details when asked', async ({ simulate }) => {
    const simulator = await simulate()
    const events = await generate(simulator, 'x', { max_new_tokens: 3 })
    const parameters = { max_new_tokens: 3, details: true, seed: 9 }
    const answer = await send(simulator, '/generate', { body: { inputs: 'x', parameters } })
    expect(answer.headers).toMatchObject({ 'x-generated-tokens': '3', 'x-prompt-tokens': '2' })
    expect(Number(answer.headers['x-compute-time'])).toBeGreaterThan(0)
    expect(answer.json()).toEqual({
      generated_text: joined(events),
      details: {
        finish_reason: 'length',
        generated_tokens: 3,
        seed: null,
        prefill: [],
        tokens: events.map(({ token }) => token),
      },
    })
    const brief = await send(simulator, '/generate', {
      body: { inputs: 'x', parameters: { max_new_tokens: 3 } },
    })
    expect(brief.json()).toEqual({ generated_text: joined(events) })
  })

  test('POST / answers an array with the prompt in front, or streams', async ({ simulate }) => {
    const simulator = await simulate()
    const body = { inputs: 'x', parameters: { max_new_tokens: 3 } }
    const text = joined(await generate(simulator, 'x', { max_new_tokens: 3 }))
    expect((await send(simulator, '/', { body })).json()).toEqual([{ generated_text: `x${text}` }])
    const stream = await open(simulator, '/', { body: { ...body, stream: true } })
    await stream.closed
    expect(stream.headers['content-type']).toBe('text/event-stream')
    expect(stream.events().at(-1)?.generated_text).toBe(`x${text}`)
  })
})

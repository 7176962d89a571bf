import { describe, expect } from 'vitest'
import { PoolError } from '../../src/contract/error.ts'
import type { Fault } from '../../src/simulator/faults.ts'
import { FAULT_KINDS, parseFault } from '../../src/simulator/faults.ts'
import type { Simulator } from '../../src/simulator/server.ts'
import { createManualClock } from '../support/manual-clock.ts'
import { generate, joined, open, send, test } from './support.ts'

async function strike(simulator: Simulator, parameters: object = {}) {
  const body = { inputs: 'x', parameters: { max_new_tokens: 6, details: true, ...parameters } }
  const stream = await open(simulator, '/generate_stream', { body })
  const closed = await stream.closed
  return { ...stream, closed, events: stream.events() }
}

describe('faults of an answer', () => {
  test('crash cuts the socket after so many tokens', async ({ simulate }) => {
    const simulator = await simulate({ faults: [{ kind: 'crash', after: 3 }] })
    const { closed, events } = await strike(simulator)
    expect(closed).toBe('cut')
    expect(events.map(({ index }) => index)).toEqual([1, 2, 3])
    await expect
      .poll(() => simulator.state())
      .toMatchObject({ failed_total: 1, permits_in_use: 0, running: 0 })
  })

  test('crash in mid-frame leaves half an event', async ({ simulate }) => {
    const { closed, text } = await strike(
      await simulate({ faults: [{ kind: 'crash', after: 1, midFrame: true }] }),
    )
    expect(closed).toBe('cut')
    expect(text()).toMatch(/\n\ndata: \{"index":2,"token":\{"id":4$/)
  })

  test('stall sends no token more, only comments, until the client leaves', async ({ simulate }) => {
    const simulator = await simulate({ keepAliveMs: 10, faults: [{ kind: 'stall', after: 2 }] })
    const stream = await open(simulator, '/generate_stream', { body: { inputs: 'x', parameters: {} } })
    await expect.poll(() => stream.text()).toMatch(/\n\n:\n\n:\n\n$/)
    expect(stream.events().length).toBe(2)
    expect(simulator.state()).toMatchObject({ running: 1, requests: [{ state: 'halted', tokens: 2 }] })
    stream.destroy()
    await expect
      .poll(() => simulator.state())
      .toMatchObject({ running: 0, permits_in_use: 0, aborted_total: 1 })
  })

  test('freeze sends nothing more at all', async ({ simulate }) => {
    const simulator = await simulate({
      keepAliveMs: 5,
      faults: [
        { kind: 'freeze', after: 1, match: 'ice' },
        { kind: 'stall', after: 1, match: 'fire' },
      ],
    })
    const frozen = await open(simulator, '/generate_stream', { body: { inputs: 'ice' } })
    await expect.poll(() => frozen.events().length).toBe(1)
    const before = frozen.text()
    const stalled = await open(simulator, '/generate_stream', { body: { inputs: 'fire' } })
    await expect.poll(() => stalled.text()).toMatch(/(:\n\n){5}$/)
    expect(frozen.text()).toBe(before)
    frozen.destroy()
    stalled.destroy()
  })

  test('no-final-event ends the body cleanly without its last event, or earlier', async ({ simulate }) => {
    const simulator = await simulate({ faults: [{ kind: 'no-final-event', times: 1 }] })
    const late = await strike(simulator)
    expect(late.closed).toBe('end')
    expect(late.events.map(({ index }) => index)).toEqual([1, 2, 3, 4, 5])
    simulator.addFault({ kind: 'no-final-event', after: 2 })
    expect((await strike(simulator)).events.length).toBe(2)
  })

  test.for([
    ['generation-error', 'generation', 424, /^Request failed during generation: Server error: /],
    ['incomplete', 'incomplete_generation_stream', 500, /^Incomplete generation/],
    ['overloaded', 'overloaded', 429, /^Model is overloaded$/],
  ] as const)(
    '%s is an event in a stream and a status elsewhere',
    async ([kind, type, status, message], { simulate }) => {
      const simulator = await simulate({ faults: [{ kind, after: 2 }] })
      const { closed, events } = await strike(simulator)
      expect(closed).toBe('end')
      expect(events.length).toBe(kind === 'overloaded' ? 1 : 3)
      expect(events.at(-1)?.error).toMatch(message)
      expect(events.at(-1)?.error_type).toBe(type)
      const answer = await send(simulator, '/generate', { body: { inputs: 'x' } })
      expect(answer.status).toBe(status)
      const label = kind === 'generation-error' ? 'generation' : kind
      expect((await send(simulator, '/metrics')).text).toContain(`tgi_request_failure{err="${label}"} 2`)
    },
  )

  test('a shard error takes the whole batch with it', async ({ simulate }) => {
    const clock = createManualClock()
    const simulator = await simulate({ clock, prefillMs: 50, tokensPerSecond: 100 })
    simulator.addFault({ kind: 'generation-error', batch: true, after: 3, match: 'bad' })
    const asked = ['good', 'bad', 'fine'].map((inputs) => generate(simulator, inputs, { max_new_tokens: 50 }))
    await expect.poll(() => simulator.state().running).toBe(3)
    clock.advance(80)
    const answers = await Promise.all(asked)
    expect(answers.map((events) => events.at(-1)?.error_type)).toEqual([
      'generation',
      'generation',
      'generation',
    ])
    expect(simulator.state().running).toBe(0)
  })

  test('malformed breaks one event and goes on', async ({ simulate }) => {
    const { events } = await strike(await simulate({ faults: [{ kind: 'malformed', after: 2 }] }))
    expect(events.map(({ index }) => index)).toEqual([1, 2, undefined, 3, 4, 5, 6])
    expect(events[2]?.broken).toBe('data: {"index":3,"token":{"id":')
  })

  test('cut makes every byte a write and merge makes all bytes one', async ({ simulate }) => {
    const simulator = await simulate({ faults: [{ kind: 'cut', times: 1 }] })
    const cut = await strike(simulator, { max_new_tokens: 2 })
    expect(cut.chunks.every((chunk) => chunk.length <= 1)).toBe(true)
    simulator.addFault({ kind: 'merge', times: 1 })
    const merged = await strike(simulator, { max_new_tokens: 2 })
    expect(merged.chunks.length).toBe(1)
    const plain = await strike(simulator, { max_new_tokens: 2 })
    expect(cut.text()).toBe(plain.text())
    expect(merged.text()).toBe(plain.text())
  })

  test('a crash of a stream that is cut comes after its bytes', async ({ simulate }) => {
    const simulator = await simulate({
      faults: [{ kind: 'cut' }, { kind: 'crash', after: 1, midFrame: true }],
    })
    const { closed, text } = await strike(simulator)
    expect(closed).toBe('cut')
    expect(text()).toMatch(/"id":4$/)
  })

  test('no-space leaves the space out, in errors too', async ({ simulate }) => {
    const simulator = await simulate({ faults: [{ kind: 'no-space' }] })
    expect((await strike(simulator)).text()).toMatch(/^data:\{"index":1,/)
    expect((await strike(simulator, { top_k: 0 })).text()).toMatch(/^data:\{"error"/)
  })

  test('keep-alives come before the first token', async ({ simulate }) => {
    const { text } = await strike(await simulate({ faults: [{ kind: 'keep-alives', count: 2 }] }))
    expect(text()).toMatch(/^:\n\n:\n\ndata: \{"index":1,/)
  })

  test('slow-prefill holds the first token back', async ({ simulate }) => {
    const clock = createManualClock()
    const simulator = await simulate({ clock, faults: [{ kind: 'slow-prefill', ms: 80, times: 1 }] })
    const answer = strike(simulator)
    await expect.poll(() => simulator.state().running).toBe(1)
    clock.advance(75)
    expect(simulator.state().requests).toMatchObject([{ state: 'prefill', tokens: 0 }])
    clock.advance(5)
    expect((await answer).events.length).toBe(6)
  })

  test('logprobs are null or -0.0 on demand', async ({ simulate }) => {
    const simulator = await simulate({ faults: [{ kind: 'null-logprob', times: 1 }] })
    expect((await strike(simulator)).text().match(/"logprob":null,/g)?.length).toBe(6)
    simulator.addFault({ kind: 'negative-zero-logprob' })
    expect((await strike(simulator)).text().match(/"logprob":-0\.0,/g)?.length).toBe(6)
  })

  test('generated_text is empty on demand, although there were tokens', async ({ simulate }) => {
    const { events } = await strike(await simulate({ faults: [{ kind: 'empty-generated-text' }] }))
    expect(events.at(-1)?.generated_text).toBe('')
    expect(joined(events)).not.toBe('')
  })
})

describe('faults at the door', () => {
  test('http-401 and http-500 answer with that status, on the path that was meant', async ({ simulate }) => {
    const simulator = await simulate({ faults: [{ kind: 'http-500', path: '/info' }, { kind: 'http-401' }] })
    expect((await send(simulator, '/info')).status).toBe(500)
    expect(await send(simulator, '/generate_stream', { body: { inputs: 'x' } })).toMatchObject({
      status: 401,
      text: '',
    })
    expect((await send(simulator, '/tokenize', { body: { inputs: 'x' } })).status).toBe(200)
    expect(simulator.state().requests_total).toBe(0)
  })

  test('hang-headers takes the request and never answers', async ({ simulate }) => {
    const simulator = await simulate({ faults: [{ kind: 'hang-headers', path: '/health', times: 1 }] })
    let isAnswered = false
    const answer = send(simulator, '/health').then(
      () => (isAnswered = true),
      () => undefined,
    )
    await expect.poll(() => simulator.state().open_sockets).toBe(1)
    expect((await send(simulator, '/health')).status).toBe(200)
    expect(isAnswered).toBe(false)
    await simulator.stop()
    await answer
    expect(isAnswered).toBe(false)
  })

  test('refuse resets so many connections', async ({ simulate }) => {
    const simulator = await simulate({ faults: [{ kind: 'refuse', times: 2 }] })
    await expect(send(simulator, '/health')).rejects.toThrow(/ECONNRESET|hang up/)
    await expect(send(simulator, '/health')).rejects.toThrow(/ECONNRESET|hang up/)
    expect((await send(simulator, '/health')).status).toBe(200)
  })

  test('unhealthy and drift show only where they are looked for', async ({ simulate }) => {
    const simulator = await simulate({
      faults: [
        { kind: 'unhealthy', times: 1 },
        { kind: 'drift', version: '4.0' },
      ],
    })
    expect((await send(simulator, '/health')).status).toBe(503)
    expect((await send(simulator, '/health')).status).toBe(200)
    expect((await send(simulator, '/info')).json()).toMatchObject({ version: '4.0' })
    simulator.clearFaults()
    expect((await send(simulator, '/info')).json()).toMatchObject({ version: '3.3.6-dev0' })
  })
})

test('a fault strikes so many times, and only prompts that match', async ({ simulate }) => {
  const simulator = await simulate({ faults: [{ kind: 'overloaded', match: 'aim', times: 2 }] })
  const errors: (string | undefined)[] = []
  for (const prompt of ['other', 'my aim', 'aim', 'aim']) {
    errors.push((await generate(simulator, prompt)).at(-1)?.error_type)
  }
  expect(errors).toEqual([undefined, 'overloaded', 'overloaded', undefined])
})

describe('parseFault', () => {
  test.for<[string, Fault]>([
    ['crash:after=5', { kind: 'crash', after: 5 }],
    ['crash:mid-frame,times=2', { kind: 'crash', times: 2, midFrame: true }],
    ['overloaded:times=2', { kind: 'overloaded', times: 2 }],
    ['slow-prefill:ms=3000', { kind: 'slow-prefill', ms: 3000 }],
    ['stall:after=1,match=a,b=c:d', { kind: 'stall', after: 1, match: 'a,b=c:d' }],
    ['stall:match=after=2,times=1', { kind: 'stall', match: 'after=2,times=1' }],
    ['http-500:path=/info', { kind: 'http-500', path: '/info' }],
    ['generation-error:batch', { kind: 'generation-error', batch: true }],
    ['drift:version=4.0', { kind: 'drift', version: '4.0' }],
    ...FAULT_KINDS.map((kind): [string, Fault] => [kind, { kind }]),
  ])('reads %s', ([text, fault]) => {
    expect(parseFault(text)).toEqual(fault)
  })

  test.for([
    '',
    'explode',
    'crash:',
    'crash:after=x',
    'crash:after',
    'crash:after=-1',
    'crash:later=5',
    'crash:times=0',
  ])('refuses %j and says what it knows', (text) => {
    expect(() => parseFault(text)).toThrow(PoolError)
    expect(() => parseFault(text)).toThrow(JSON.stringify(text))
    expect(() => parseFault(text)).toThrow(text.startsWith('crash') ? 'after=N' : 'no-final-event')
  })
})

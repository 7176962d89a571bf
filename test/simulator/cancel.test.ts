import { describe, expect } from 'vitest'
import type { Simulator } from '../../src/simulator/server.ts'
import { createManualClock } from '../support/manual-clock.ts'
import { generate, open, openRaw, send, test } from './support.ts'

const dropped = async (simulator: Simulator) =>
  /tgi_request_failure\{err="dropped"\} (\d+)/.exec((await send(simulator, '/metrics')).text)?.[1]

const body = { inputs: 'x', parameters: { max_new_tokens: 1000 } }

describe('a client that leaves', () => {
  test('frees its permit at once and its place at its next token', async ({ simulate }) => {
    const clock = createManualClock()
    const simulator = await simulate({ clock, tokensPerSecond: 10, maxConcurrentRequests: 1 })
    const stream = await open(simulator, '/generate_stream', { body })
    await expect.poll(() => stream.events().length).toBe(1)
    expect((await generate(simulator, 'y')).at(0)?.error_type).toBe('overloaded')
    stream.destroy()
    await expect.poll(() => simulator.state().permits_in_use).toBe(0)
    clock.advance(95)
    expect(simulator.state()).toMatchObject({ running: 1, open_requests: 0, aborted_total: 1 })
    expect(await dropped(simulator)).toBeUndefined()
    clock.advance(5)
    expect(simulator.state().running).toBe(0)
    expect(await dropped(simulator)).toBe('1')
    expect(simulator.state().requests[0]).toMatchObject({ n: 1, state: 'aborted', tokens: 1 })
    expect((await send(simulator, '/metrics')).text).not.toContain('tgi_request_success')
  })

  test('in prefill holds its place to the end of it', async ({ simulate }) => {
    const clock = createManualClock()
    const simulator = await simulate({ clock, tokensPerSecond: 10, prefillMs: 150 })
    const stream = await open(simulator, '/generate_stream', { body })
    await expect.poll(() => simulator.state().running).toBe(1)
    stream.destroy()
    await expect.poll(() => simulator.state().permits_in_use).toBe(0)
    clock.advance(145)
    expect(simulator.state().running).toBe(1)
    clock.advance(5)
    expect(simulator.state()).toMatchObject({ running: 0, tokens_total: 0 })
    expect(await dropped(simulator)).toBe('1')
  })

  test('in the queue stays in it until its turn comes', async ({ simulate }) => {
    const clock = createManualClock()
    const simulator = await simulate({ clock, tokensPerSecond: 200, maxBatchSize: 1 })
    const first = await open(simulator, '/generate_stream', { body })
    await expect.poll(() => simulator.state().running).toBe(1)
    const second = await open(simulator, '/generate_stream', { body })
    await expect.poll(() => simulator.state().queued).toBe(1)
    second.destroy()
    await expect.poll(() => simulator.state().permits_in_use).toBe(1)
    expect(simulator.state().queued).toBe(1)
    expect((await send(simulator, '/metrics')).text).toContain('\ntgi_queue_size 1\n')
    first.destroy()
    await expect.poll(() => simulator.state().permits_in_use).toBe(0)
    expect(simulator.state()).toMatchObject({ queued: 1, running: 1 })
    clock.advance(5)
    await expect.poll(() => simulator.state()).toMatchObject({ queued: 0, running: 0 })
    expect(await dropped(simulator)).toBe('2')
  })

  test('by closing only its half has left as well', async ({ simulate }) => {
    const clock = createManualClock()
    const simulator = await simulate({ clock, tokensPerSecond: 50 })
    const socket = await openRaw(simulator, body)
    await expect.poll(() => simulator.state().running).toBe(1)
    socket.end()
    await expect.poll(() => simulator.state()).toMatchObject({ aborted_total: 1, open_sockets: 0 })
    clock.advance(20)
    expect(simulator.state().running).toBe(0)
    socket.destroy()
  })

  test('on a route that does not stream is noticed just so', async ({ simulate }) => {
    const clock = createManualClock()
    const simulator = await simulate({ clock, tokensPerSecond: 50 })
    const socket = await openRaw(simulator, body, '/generate')
    await expect.poll(() => simulator.state().running).toBe(1)
    socket.destroy()
    await expect.poll(() => simulator.state()).toMatchObject({ aborted_total: 1, permits_in_use: 0 })
    expect(simulator.state().running).toBe(1)
    clock.advance(20)
    expect(simulator.state().running).toBe(0)
    expect(await dropped(simulator)).toBe('1')
  })

  test('is seen by the observer at once, with its tag and without its prompt', async ({ simulate }) => {
    const seen: object[] = []
    const observer = {
      requestReceived: (request: object) => seen.push(request),
      requestClosed: (request: object) => seen.push(request),
    }
    const simulator = await simulate({ prefillMs: 60_000, observer })
    const stream = await open(simulator, '/generate_stream', {
      body: { ...body, inputs: 'secret [tag:job-7]' },
    })
    stream.destroy()
    await expect.poll(() => seen.length).toBe(2)
    const received = { n: 1, tag: 'job-7', receivedAtMs: expect.any(Number) }
    expect(seen).toEqual([
      received,
      { ...received, closedAtMs: expect.any(Number), outcome: 'aborted', tokens: 0 },
    ])
    expect(JSON.stringify([seen, simulator.state()])).not.toContain('secret')
  })
})

describe('a client that does not read', () => {
  // More than the 4 MiB of a paced stream and the kernel's buffers hold.
  test.for([
    [0, 28_672],
    [200_000, 40_960],
  ] as const)(
    'is not cancelled at %d tokens/s, is waited for in the end, and gets everything later',
    async ([tokensPerSecond, length], { simulate }) => {
      const simulator = await simulate({ tokensPerSecond, maxTotalTokens: 60_000 })
      const parameters = { max_new_tokens: length, details: true, top_n_tokens: 5 }
      const stream = await open(simulator, '/generate_stream', { body: { inputs: 'x', parameters } })
      stream.pause()
      let before = -1
      const hasStopped = () => {
        const now = simulator.state().tokens_total
        const isStill = now > 0 && now === before
        before = now
        return isStill
      }
      await expect.poll(hasStopped, { interval: 100 }).toBe(true)
      expect(before).toBeLessThan(length)
      expect(simulator.state()).toMatchObject({ open_requests: 1, running: 1, permits_in_use: 1 })
      stream.resume()
      expect(await stream.closed).toBe('end')
      const events = stream.events()
      expect(events.map(({ index }) => index)).toEqual(events.map((_, at) => at + 1))
      expect(events.at(-1)?.details?.generated_tokens).toBe(length)
    },
  )

  test('gives its place up when it leaves after all', async ({ simulate }) => {
    const simulator = await simulate({ maxTotalTokens: 60_000 })
    const stream = await open(simulator, '/generate_stream', {
      body: { inputs: 'x', parameters: { max_new_tokens: 40_960, top_n_tokens: 5 } },
    })
    stream.pause()
    await expect.poll(() => simulator.state().tokens_total).toBeGreaterThan(100)
    stream.destroy()
    await expect
      .poll(() => simulator.state())
      .toMatchObject({ running: 0, permits_in_use: 0, aborted_total: 1 })
  })
})

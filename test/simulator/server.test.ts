import http from 'node:http'
import { describe, expect } from 'vitest'
import { startSimulator } from '../../src/simulator/server.ts'
import { generate, open, send, test } from './support.ts'

describe('steering a simulator from another process', () => {
  test('faults, health and info obey', async ({ simulate }) => {
    const simulator = await simulate()
    const post = (path: string, body: unknown) => send(simulator, `/simulator/${path}`, { body })
    expect((await post('faults', { kind: 'overloaded', match: 'aim' })).status).toBe(200)
    expect((await generate(simulator, 'aim')).at(0)?.error_type).toBe('overloaded')
    await post('faults', { clear: true })
    expect((await generate(simulator, 'aim')).at(0)?.error_type).toBeUndefined()
    await post('faults', { kind: 'crash', mid_frame: true, after: 1 })
    const stream = await open(simulator, '/generate_stream', { body: { inputs: 'x' } })
    expect(await stream.closed).toBe('cut')
    expect(stream.text()).toMatch(/"id":4$/)
    await post('health', { healthy: false })
    expect((await send(simulator, '/health')).status).toBe(503)
    await post('info', { version: '9', docker_label: null })
    expect((await send(simulator, '/info')).json()).toMatchObject({ version: '9', docker_label: null })
    simulator.setInfo({ version: undefined, sha: 'abc' })
    expect((await send(simulator, '/info')).json()).toMatchObject({ version: '9', sha: 'abc' })
  })

  test.for([
    ['faults', { kind: 'explode' }],
    ['health', {}],
    ['info', { versoin: '9' }],
  ] as const)('what %s does not understand is 400', async ([path, body], { simulate }) => {
    const answer = await send(await simulate(), `/simulator/${path}`, { body })
    expect(answer.status).toBe(400)
    expect(answer.json()).toHaveProperty('error')
  })

  test('the state tells what happened and keeps the last 50 requests', async ({ simulate }) => {
    const simulator = await simulate()
    for (let count = 0; count < 52; count += 1) await generate(simulator, 'secret', { max_new_tokens: 2 })
    await generate(simulator, 'secret', { top_k: 0 })
    await expect.poll(() => simulator.state().open_requests).toBe(0)
    const { text } = await send(simulator, '/simulator/state')
    const state: { requests: object[] } = JSON.parse(text)
    expect(state).toMatchObject({
      open_requests: 0,
      running: 0,
      queued: 0,
      permits_in_use: 0,
      requests_total: 53,
      finished_total: 52,
      failed_total: 1,
      aborted_total: 0,
      tokens_total: 104,
    })
    expect(state.requests.length).toBe(50)
    expect(state.requests[0]).toEqual({
      n: 4,
      started_at_ms: expect.any(Number),
      state: 'finished',
      tokens: 2,
    })
    expect(text).not.toContain('secret')
  })
})

describe('starting and stopping', () => {
  test('stop closes open streams and the port, and may be called again', async ({ simulate }) => {
    const simulator = await simulate({ tokensPerSecond: 50 })
    const stream = await open(simulator, '/generate_stream', { body: { inputs: 'x' } })
    await Promise.all([simulator.stop(), simulator.stop()])
    expect(await stream.closed).toBe('cut')
    await expect(send(simulator, '/health')).rejects.toThrow('ECONNREFUSED')
    const again = await simulate({ port: simulator.port })
    expect(again.url).toBe(simulator.url)
  })

  test('a port that is taken and an option out of range are told by name', async ({ simulate }) => {
    const { port } = await simulate()
    await expect(startSimulator({ port })).rejects.toMatchObject({
      kind: 'CONFIG',
      message: expect.stringMatching(`^cannot listen on 127.0.0.1:${port}: the port is in use .*--port`),
    })
    await expect(startSimulator({ tokensPerSecond: -1 })).rejects.toMatchObject({
      kind: 'CONFIG',
      message: 'simulator: tokensPerSecond must be a number from 0 to 1000000, got -1',
    })
    await expect(startSimulator({ maxInputTokens: 10, maxTotalTokens: 10 })).rejects.toThrow(
      'from 1 to 9, got 10',
    )
  })

  test('a connection is used again after a stream has ended', async ({ simulate }) => {
    const simulator = await simulate()
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 })
    for (let count = 0; count < 3; count += 1) {
      await new Promise<void>((resolve, reject) => {
        const options = { method: 'POST', agent, headers: { 'content-type': 'application/json' } }
        const request = http.request(`${simulator.url}/generate_stream`, options, (response) => {
          response.resume().on('end', resolve)
        })
        request.on('error', reject)
        request.end('{"inputs":"x","parameters":{"max_new_tokens":3}}')
      })
    }
    expect(simulator.state()).toMatchObject({ open_sockets: 1, requests_total: 3 })
    agent.destroy()
  })
})

test('64 streams flat out are all served whole', async ({ simulate }) => {
  const simulator = await simulate()
  const streams = await Promise.all(
    Array.from({ length: 64 }, async (_, at) => {
      const body = { inputs: `prompt ${at}`, parameters: { max_new_tokens: 500 } }
      const stream = await open(simulator, '/generate_stream', { body })
      await stream.closed
      return stream
    }),
  )
  expect(streams.every((stream) => stream.text().split('\n\n').length === 501)).toBe(true)
})

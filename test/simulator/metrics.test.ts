import { describe, expect } from 'vitest'
import { createRegistry, formatFloat64 } from '../../src/simulator/exposition.ts'
import { formatFloat32 } from '../../src/simulator/logprob.ts'
import { createMetrics, DURATION_BOUNDS } from '../../src/simulator/metrics.ts'
import { generate, send, test } from './support.ts'

describe('GET /metrics', () => {
  test('is empty before first use and plain text without a version', async ({ simulate }) => {
    const answer = await send(await simulate({ apiKey: 'k' }), '/metrics')
    expect(answer).toMatchObject({ status: 200, text: '' })
    expect(answer.headers['content-type']).toBe('text/plain; charset=utf-8')
  })

  test('has TGI names, integers for counters, le last, and a blank line after each family', async ({
    simulate,
  }) => {
    const simulator = await simulate({ maxTotalTokens: 1000 })
    await generate(simulator, 'x', { max_new_tokens: 25 })
    await generate(simulator, 'x', { top_k: 0 })
    const { text } = await send(simulator, '/metrics')
    expect(text).toContain('\ntgi_request_count 2\n\n')
    expect(text).toContain('# TYPE tgi_request_failure counter\ntgi_request_failure{err="validation"} 1\n\n')
    expect(text).not.toContain('# HELP tgi_request_failure')
    expect(text).not.toContain('_total')
    expect(text).toContain(
      'tgi_request_generated_tokens_bucket{le="20"} 0\ntgi_request_generated_tokens_bucket{le="30"} 1\n',
    )
    expect(text).toContain('tgi_request_max_new_tokens_sum 25\n')
    expect(text).toContain('tgi_batch_next_size_bucket{le="1024"} 1\n')
    expect(text).toContain('tgi_request_duration_bucket{le="0.00015000000000000001"} 0\n')
    expect(text).toContain(
      '# TYPE tgi_request_skipped_tokens summary\ntgi_request_skipped_tokens{quantile="0"} 0\n',
    )
    expect(text).toContain('tgi_batch_current_size 0\n')
    expect(text.endsWith('\n\n')).toBe(true)
  })

  test('a slice over 1024 tokens is counted once a slice', async ({ simulate }) => {
    const simulator = await simulate()
    await generate(simulator, 'x', { max_new_tokens: 2000 })
    const { text } = await send(simulator, '/metrics')
    expect(text).toContain('tgi_request_max_new_tokens_sum 2048\ntgi_request_max_new_tokens_count 2\n')
    expect(text).toContain('tgi_request_generated_tokens_sum 2048\ntgi_request_generated_tokens_count 1\n')
  })

  test('families come in another order each time', async ({ simulate }) => {
    const simulator = await simulate()
    await generate(simulator, 'x')
    const order = async () => (await send(simulator, '/metrics')).text.match(/(?<=# TYPE )\w+/g)?.join()
    const orders = new Set<string | undefined>()
    await expect
      .poll(async () => {
        orders.add(await order())
        return orders.size
      })
      .toBeGreaterThan(1)
  })
})

test('duration buckets are those TGI computes', () => {
  expect(DURATION_BOUNDS.length).toBe(35)
  expect(DURATION_BOUNDS.slice(0, 6)).toEqual([
    0.00015000000000000001, 0.00022500000000000002, 0.0003375, 0.00050625, 0.000759375, 0.0011390624999999999,
  ])
  expect(DURATION_BOUNDS.at(-1)).toBe(145.61096060497135)
})

test('an unknown metric is a mistake that shows', () => {
  expect(() => createMetrics({ maxInputTokens: 1, maxTotalTokens: 2 }).record('tgi_nothing', 1)).toThrow(
    'tgi_nothing',
  )
})

test('two label sets are two series of one family', () => {
  const registry = createRegistry({ a: { type: 'histogram', help: 'h', bounds: [1, 2] } })
  registry.record('a', 2, { m: 'x' })
  registry.record('a', 3, { m: 'y' })
  expect(registry.render()).toBe(
    '# HELP a h\n# TYPE a histogram\n' +
      'a_bucket{m="x",le="1"} 0\na_bucket{m="x",le="2"} 1\na_bucket{m="x",le="+Inf"} 1\na_sum{m="x"} 2\na_count{m="x"} 1\n' +
      'a_bucket{m="y",le="1"} 0\na_bucket{m="y",le="2"} 0\na_bucket{m="y",le="+Inf"} 1\na_sum{m="y"} 3\na_count{m="y"} 1\n\n',
  )
})

test.for([
  [5, '5'],
  [0.1, '0.1'],
  [1.5e-7, '0.00000015'],
  [0, '0'],
  [3e21, '3000000000000000000000'],
] as const)('a float64 %d is written as %s', ([value, text]) => {
  expect(formatFloat64(value)).toBe(text)
})

test.for([
  [-0.5786133, '-0.5786133'],
  [0, '0.0'],
  [-0, '-0.0'],
  [-2, '-2.0'],
  [Number.NaN, 'null'],
  [-Infinity, 'null'],
  [-0.1, '-0.1'],
] as const)('a float32 %d is written as %s', ([value, text]) => {
  expect(formatFloat32(value)).toBe(text)
})

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { findJsonFault } from '../../src/gateway/json-fault.ts'

describe('findJsonFault', () => {
  test.each([
    ['', 0],
    ['  ', 2],
    ['{', 1],
    ['{"a"', 4],
    ['{"a":1,}', 7],
    ['[1,]', 3],
    ['[1 2]', 3],
    ['{a:1}', 1],
    ["{'a':1}", 1],
    ['{"a":01}', 6],
    ['[1}', 2],
    ['"a\nb"', 0],
    ['"\\x"', 0],
    ['nul', 0],
    ['{} {}', 3],
    ['[]]', 2],
  ])('finds where %j stops being JSON', (text, at) => {
    expect(findJsonFault(text)).toBe(at)
  })

  test('finds nothing before the end of what is JSON, however it is laid out', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom(undefined, 1, '\t'), (value, indent) => {
        const text = `${JSON.stringify(value, null, indent)}\n`
        expect(findJsonFault(text)).toBe(text.length)
      }),
    )
  })

  test('finds the place in a text that was JSON up to there, and in large ones too', () => {
    fc.assert(
      fc.property(fc.array(fc.jsonValue(), { minLength: 1 }), (values) => {
        const text = JSON.stringify(values)
        expect(findJsonFault(`${text.slice(0, -1)};]`)).toBe(text.length - 1)
      }),
    )
    expect(findJsonFault(`["${'x'.repeat(2_500_000)}";`)).toBe(2_500_003)
    expect(findJsonFault('['.repeat(1_000_000))).toBe(1_000_000)
  })
})

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { findJsonFlaw } from '../../src/contract/json-text.ts'
import { MAX_DEPTH, MAX_KEYS, MAX_VALUES, findExcess } from '../../src/contract/shape.ts'

describe('findJsonFlaw', () => {
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
    expect(findJsonFlaw(text)).toMatchObject({ kind: 'not_json', at })
  })

  test('finds nothing before the end of what is JSON, however it is laid out', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.constantFrom(undefined, 1, '\t'), (value, indent) => {
        const text = `${JSON.stringify(value, null, indent)}\n`
        expect(findJsonFlaw(text)).toBe(undefined)
      }),
    )
  })

  test('finds the place in a text that was JSON up to there, and in large ones too', () => {
    fc.assert(
      fc.property(fc.array(fc.jsonValue(), { minLength: 1 }), (values) => {
        const text = JSON.stringify(values)
        expect(findJsonFlaw(`${text.slice(0, -1)};]`)).toMatchObject({ at: text.length - 1 })
      }),
    )
    expect(findJsonFlaw(`["${'x'.repeat(2_500_000)}";`)).toMatchObject({ at: 2_500_003 })
  })

  test('takes what JSON.parse takes, and nothing else', () => {
    const pieces = [
      '{',
      '}',
      '[',
      ']',
      ',',
      ':',
      '"',
      '\\',
      'u00e9',
      'a',
      '0',
      '-',
      '.',
      'e',
      '+',
      '1',
      ' ',
      '\n',
      'true',
      'null',
      '"k"',
    ]
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...pieces), { maxLength: 12 }), (parts) => {
        const text = parts.join('')
        expect(findJsonFlaw(text) === undefined, text).toBe(isJson(text))
      }),
      { numRuns: 3000 },
    )
  })

  test('finds the first bad character of a string, however many escapes come before it', () => {
    const text = `{"inputs":"${'\\"'.repeat(500_000)}\n"}`
    expect(findJsonFlaw(text)).toMatchObject({ at: 10, inside: text.indexOf('\n') })
  })

  test('counts values and levels as the parsed value has them', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.nat(12), fc.nat(5), fc.nat(5), (value, values, depth, keys) => {
        const bounds = { values, depth, keys }
        const flaw = findJsonFlaw(JSON.stringify(value), bounds)
        expect(flaw === undefined).toBe(findExcess(value, bounds) === undefined)
      }),
    )
  })

  test.for([
    ['values', `[${'{},'.repeat(MAX_VALUES)}`, MAX_VALUES * 3 - 2],
    ['keys', `{${'"a":0,'.repeat(MAX_VALUES)}`, 6 * MAX_KEYS + 1],
    ['depth', '['.repeat(1_000_000), MAX_DEPTH],
  ] as const)('stops at too many %s, however the text goes on', ([kind, text, at]) => {
    expect(findJsonFlaw(text)).toEqual({ kind, at })
  })
})

function isJson(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

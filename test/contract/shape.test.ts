import { describe, expect, test } from 'vitest'
import { parseJob } from '../../src/contract/job.ts'
import { MAX_DEPTH, MAX_KEYS, MAX_VALUES, findExcess } from '../../src/contract/shape.ts'

function nested(depth: number): unknown {
  let value: unknown = 1
  for (let at = 0; at < depth; at += 1) value = at % 2 === 0 ? [value] : { value }
  return value
}

const fields = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, at) => [`k${at}`, 0]))

const loop: unknown[] = []
loop.push(loop)
const branching: unknown[] = []
branching.push(branching, branching)

describe('the shape of a body', () => {
  test.for([
    ['no depth', nested(0), undefined],
    ['the greatest depth', nested(MAX_DEPTH), undefined],
    ['one level more', nested(MAX_DEPTH + 1), 'depth'],
    ['far more levels', nested(200_000), 'depth'],
    ['itself in it', loop, 'depth'],
    ['itself in it twice', branching, 'values'],
    ['the most values', Array.from({ length: MAX_VALUES - 1 }, () => 0), undefined],
    ['one value more', Array.from({ length: MAX_VALUES }, () => 0), 'values'],
    [
      'holes without end',
      { a: Array.from({ length: 3 }), b: Object.assign([], { length: 2 ** 32 - 1 }) },
      'values',
    ],
    ['bytes', new Uint8Array(1_000_000), 'values'],
    ['the most fields', [fields(MAX_KEYS)], undefined],
    ['one field more', [fields(MAX_KEYS + 1)], 'keys'],
    ['values here and there', [nested(3), Array.from({ length: MAX_VALUES - 6 }, () => '')], undefined],
  ] as const)('with %s', ([, value, expected]) => {
    expect(findExcess(value)).toBe(expected)
  })
})

test('a job that is nested deeper than any stack is refused like any other bad one', () => {
  const job = { inputs: 'x', parameters: { grammar: { type: 'json', value: nested(200_000) } } }
  expect(() => parseJob(job)).toThrow(
    expect.objectContaining({ kind: 'INVALID_PARAMS', message: expect.stringContaining('"parameters"') }),
  )
})

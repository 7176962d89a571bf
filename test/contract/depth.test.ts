import { expect, test } from 'vitest'
import { MAX_DEPTH, isTooDeep } from '../../src/contract/depth.ts'
import { parseJob } from '../../src/contract/job.ts'

function nested(depth: number): unknown {
  let value: unknown = 1
  for (let at = 0; at < depth; at += 1) value = at % 2 === 0 ? [value] : { value }
  return value
}

test.for([
  [nested(0), false],
  [nested(MAX_DEPTH), false],
  [nested(MAX_DEPTH + 1), true],
  [nested(200_000), true],
] as const)('how deep a body is, case %#', ([value, expected]) => {
  expect(isTooDeep(value)).toBe(expected)
})

test('a job that is nested deeper than any stack is refused like any other bad one', () => {
  const job = { inputs: 'x', parameters: { grammar: { type: 'json', value: nested(200_000) } } }
  expect(() => parseJob(job)).toThrow(expect.objectContaining({ kind: 'INVALID_PARAMS' }))
})

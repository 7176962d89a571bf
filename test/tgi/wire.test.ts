import * as fc from 'fast-check'
import { expect, test } from 'vitest'

import { errorFrameSchema, isErrorFrame, isTokenFrame, tokenFrameSchema } from '../../src/tgi/wire.ts'
import { endFrame, errorFrame, tokenFrame } from './frames.ts'

/** Values that sit on the borders of the schema's fields. */
const odd = fc.constantFrom<unknown>(
  undefined,
  null,
  '',
  'length',
  'bored',
  0,
  -0,
  -1,
  0.5,
  2 ** 53,
  Infinity,
  NaN,
  true,
  [],
  {},
  [null],
  [{ id: 1, text: 'x', logprob: null, special: false }],
  [{ id: 1, text: 'x', logprob: 0 }],
)

const KEYS = [
  'token',
  'id',
  'text',
  'logprob',
  'special',
  'top_tokens',
  'generated_text',
  'details',
  'finish_reason',
  'generated_tokens',
  'input_length',
  'error',
  'error_type',
  'index',
]

/** A frame of TGI's with some of its fields, at any depth, taken away or made odd. */
const bent = fc
  .tuple(
    fc.constantFrom<unknown>(
      tokenFrame(1),
      endFrame(2, ''),
      tokenFrame(1, {}, { top_tokens: [{ id: 1, text: 'x', logprob: null, special: false }] }),
      errorFrame('overloaded', 'Model is overloaded'),
    ),
    fc.dictionary(fc.constantFrom(...KEYS), fc.option(odd, { nil: 'absent' }), { maxKeys: 3 }),
  )
  .map(([frame, changes]) => bend(frame, changes))

function bend(value: unknown, changes: Readonly<Record<string, unknown>>): unknown {
  if (Array.isArray(value)) return value.map((part) => bend(part, changes))
  if (typeof value !== 'object' || value === null) return value
  const fields = Object.entries(value).filter(([key]) => changes[key] !== 'absent')
  return Object.fromEntries(
    fields.map(([key, part]) => [key, Object.hasOwn(changes, key) ? changes[key] : bend(part, changes)]),
  )
}

test('the check by hand and the schema accept the same frames', () => {
  let accepted = 0
  let refused = 0
  fc.assert(
    fc.property(
      fc.oneof({ weight: 5, arbitrary: bent }, { weight: 1, arbitrary: fc.anything() }),
      (frame) => {
        const token = tokenFrameSchema.safeParse(frame).success
        expect(isTokenFrame(frame)).toBe(token)
        expect(isErrorFrame(frame)).toBe(errorFrameSchema.safeParse(frame).success)
        if (token) accepted += 1
        else refused += 1
      },
    ),
    { numRuns: 5000 },
  )
  // Both kinds were really tried.
  expect(Math.min(accepted, refused)).toBeGreaterThan(500)
})

test.each([
  ['a token', tokenFrame(1)],
  ['a token without a log probability', tokenFrame(1, { logprob: null })],
  ['an end', endFrame(1, 'x')],
  ['an end with nothing', endFrame(1, '')],
])('%s is a token frame', (_, frame) => {
  expect(isTokenFrame(frame)).toBe(true)
  expect(isErrorFrame(frame)).toBe(false)
})

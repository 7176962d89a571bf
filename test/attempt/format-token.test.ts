import fc from 'fast-check'
import { expect, test } from 'vitest'
import { formatToken, tokenData } from '../../src/attempt/format-token.ts'

const logprob = fc.option(fc.double({ noNaN: true, noDefaultInfinity: true }), { nil: null })
const token = fc.record(
  {
    id: fc.nat(),
    text: fc.string({ unit: 'binary' }),
    logprob,
    special: fc.boolean(),
    top: fc.array(fc.record({ id: fc.nat(), text: fc.string(), logprob, special: fc.boolean() })),
  },
  { requiredKeys: ['id', 'text', 'logprob', 'special'] },
)

test('what is put together by hand is what JSON.stringify gives, and never holds a newline', () => {
  fc.assert(
    fc.property(token, fc.nat(), (one, index) => {
      const json = formatToken(one, index)
      expect(JSON.parse(json)).toEqual(JSON.parse(JSON.stringify(tokenData(one, index))))
      expect(json).not.toMatch(/\n/)
    }),
  )
})

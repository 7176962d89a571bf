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

const times = fc.option(fc.record({ first_token_ms: fc.nat(), ttft_ms: fc.nat() }), { nil: undefined })

test('what is put together by hand is what JSON.stringify gives, and never holds a newline', () => {
  fc.assert(
    fc.property(token, fc.nat(), times, (one, index, first) => {
      const json = formatToken(one, index, first)
      expect(JSON.parse(json)).toEqual(JSON.parse(JSON.stringify(tokenData(one, index, first))))
      expect(JSON.parse(json)).toMatchObject({ ...first })
      expect(json).not.toMatch(/\n/)
    }),
  )
})

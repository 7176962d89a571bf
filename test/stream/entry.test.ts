import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { PoolError } from '../../src/contract/error.ts'
import { tokenSchema } from '../../src/contract/event.ts'
import { QUEUED_ID } from '../../src/contract/stream-id.ts'
import { formatEntry, isTokenData, parseEntry, parseRawEntry } from '../../src/stream/entry.ts'
import { token, tokenData } from './entries.ts'

/** Values near to what a field may be. */
const odd = fc.oneof(
  fc.constantFrom<unknown>(
    undefined,
    null,
    true,
    false,
    '',
    '0',
    0,
    -0,
    1,
    -1,
    0.5,
    2 ** 53,
    -(2 ** 53),
    1e308,
    [],
    {},
  ),
  fc.integer(),
  fc.double(),
  fc.string(),
)
const field = (good: fc.Arbitrary<unknown>) =>
  fc.oneof({ weight: 6, arbitrary: good }, { weight: 1, arbitrary: odd })
const nearlyToken = fc.record(
  {
    t: field(fc.string()),
    i: field(fc.nat()),
    id: field(fc.nat()),
    logprob: field(fc.oneof(fc.constant(null), fc.double({ noNaN: true, noDefaultInfinity: true }))),
    special: fc.constantFrom<unknown>(undefined, true, false, null, 1),
    more: odd,
  },
  { requiredKeys: [] },
)

describe('the narrow check of tokens', () => {
  test('says what the schema says', () => {
    fc.assert(
      fc.property(fc.oneof({ weight: 20, arbitrary: nearlyToken }, fc.anything()), (data) => {
        if (typeof data === 'object' && data !== null && 'top' in data) return
        expect(isTokenData(data)).toBe(tokenSchema.safeParse(data).success)
      }),
      { numRuns: 5000 },
    )
  })

  test('leaves tokens with alternatives to the schema', () => {
    const data = { ...tokenData(0), top: [{ id: 1, t: 'x', logprob: null }] }
    expect(isTokenData(data)).toBe(false)
    expect(parseEntry(formatEntry(token(0).id, 'token', data))).toEqual({
      id: token(0).id,
      event: 'token',
      data,
    })
  })
})

describe('an entry', () => {
  test('comes back as it was written', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (t) => {
        const entry = formatEntry(token(0).id, 'token', { ...tokenData(0), t })
        expect(parseEntry(entry).data).toEqual({ ...tokenData(0), t: t.toWellFormed() })
      }),
    )
  })

  test('keeps fields that a newer writer has added', () => {
    const entry = { ...token(0), data: JSON.stringify({ ...tokenData(0), mood: 'good' }) }
    expect(parseEntry(entry)).toMatchObject({ event: 'token', data: tokenData(0) })
  })

  test.for<[name: string, raw: [string, string[]]]>([
    ['an id that is none of ours', ['18446744073709551615-0', ['event', 'token', 'data', '{}']]],
    ['other fields', ['0-1', ['type', 'queued', 'data', '{}']]],
    ['one field', ['0-1', ['event', 'queued']]],
    ['no field', ['0-1', []]],
    ['an unknown event', ['0-1', ['event', 'toString', 'data', '{}']]],
  ])('with %s is refused', ([, raw]) => {
    expect(() => parseRawEntry(raw)).toThrow(PoolError)
  })

  test.for<[name: string, data: string]>([
    ['no JSON', '{"secret'],
    ['another shape', '{"digest":"secret"}'],
  ])('whose data is %s is refused by its id and without its data', ([, data]) => {
    const parse = () => parseEntry({ id: QUEUED_ID, event: 'queued', data })
    expect(parse).toThrow(/0-1/)
    expect(parse).not.toThrow(/secret/)
  })
})

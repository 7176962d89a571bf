import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  compareIds,
  entryId,
  idParts,
  parseCursor,
  QUEUED_ID,
  SEAL_ID,
  START,
} from '../../src/contract/stream-id.ts'

const number = fc.maxSafeNat()

describe('an id', () => {
  test('that is made can be read', () => {
    fc.assert(
      fc.property(number, number, (epoch, n) => {
        const id = entryId(epoch, n)
        expect(parseCursor(id)).toBe(id)
        expect(idParts(id)).toEqual({ epoch, n })
      }),
    )
  })

  test.for([
    '',
    '1',
    '-',
    '1-',
    '-1',
    '1-1-1',
    '01-1',
    '1-01',
    '+1-1',
    ' 1-1',
    '1-1 ',
    '1.0-1',
    '1e3-1',
    '*',
    '$',
    '>',
  ])('cannot be read from %j', (text) => {
    expect(parseCursor(text)).toBe(undefined)
  })

  test.for(['9007199254740992-1', '1-9007199254740992', '18446744073709551615-1'])(
    'that no number holds exactly is refused: %s',
    (text) => {
      expect(parseCursor(text)).toBe(undefined)
    },
  )

  test('comes before another as its numbers do', () => {
    fc.assert(
      fc.property(number, number, number, number, (a, b, c, d) => {
        const expected = Math.sign(a - c) || Math.sign(b - d)
        expect(Math.sign(compareIds(entryId(a, b), entryId(c, d)))).toBe(expected)
      }),
    )
  })

  test('of the start comes first and of the seal last', () => {
    const now = entryId(Date.now(), 1)
    const ids = [SEAL_ID, now, QUEUED_ID, START]
    expect(ids.toSorted(compareIds)).toEqual([START, QUEUED_ID, now, SEAL_ID])
  })
})

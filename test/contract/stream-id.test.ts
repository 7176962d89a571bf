import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  compareIds,
  entryId,
  epochMs,
  idParts,
  nextEpoch,
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

describe('an epoch', () => {
  const NOW_US = 1_763_812_345_678_901

  test('is the clock in microseconds, and tells when the attempt was picked up', () => {
    expect(nextEpoch(0, NOW_US)).toBe(NOW_US)
    expect(nextEpoch(NOW_US - 1, NOW_US)).toBe(NOW_US)
    expect(epochMs(NOW_US)).toBe(1_763_812_345_678)
  })

  test('follows the last one when the clock does not, by a step that is drawn', () => {
    expect(nextEpoch(NOW_US, NOW_US, () => 0)).toBe(NOW_US + 1)
    expect(nextEpoch(NOW_US + 9_000_000, NOW_US, () => 0.999_999_999)).toBe(NOW_US + 9_000_000 + 2 ** 20)
    const drawn = new Set(Array.from({ length: 10 }, () => nextEpoch(NOW_US, NOW_US)))
    // That ten draws of a million are all one happens once in 10^54 runs.
    expect(drawn.size).toBeGreaterThan(1)
  })

  test('of a stream of an earlier version counts milliseconds', () => {
    expect(epochMs(1_763_812_345_678)).toBe(1_763_812_345_678)
    expect(nextEpoch(1_763_812_345_678, NOW_US)).toBe(NOW_US)
  })

  test('stays below the seal for two centuries', () => {
    const year = 365.25 * 24 * 3600 * 1e6
    expect(NOW_US + 200 * year).toBeLessThan(idParts(SEAL_ID).epoch)
  })
})

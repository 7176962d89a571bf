import { InvalidArgumentError } from 'commander'
import { expect, test } from 'vitest'
import { duration, formatAge } from '../../src/cli/duration.ts'

test.for([
  ['0s', 0],
  ['90s', 90_000],
  ['10m', 600_000],
  ['2h', 7_200_000],
  ['1d', 86_400_000],
] as const)('%s is a duration', ([text, ms]) => {
  expect(duration(text)).toBe(ms)
})

test.for(['', '90', 's', '-1s', '1.5h', '10 m', '10M', '1h30m', '10ms', '9'.repeat(20) + 'd'])(
  '%s is refused, and the error shows what to write',
  (text) => {
    expect(() => duration(text)).toThrow(InvalidArgumentError)
    expect(() => duration(text)).toThrow('such as 90s, 10m, 2h or 1d')
  },
)

test.for([
  [-5, '0s'],
  [999, '0s'],
  [59_999, '59s'],
  [60_000, '1m'],
  [3_599_999, '59m'],
  [3_600_000, '1h'],
  [11_100_000, '3h5m'],
  [86_399_999, '23h59m'],
  [86_400_000, '1d'],
  [187_200_000, '2d4h'],
] as const)('%i ms reads %s', ([ms, text]) => {
  expect(formatAge(ms)).toBe(text)
})

import { describe, expect, test } from 'vitest'
import { readExposition } from '../../src/metrics/tolerant.ts'

const GOOD = '# TYPE ok counter\nok 1\n'
const series = (name: string, count: number) =>
  Array.from({ length: count }, (_, n) => `${name}{n="${n}"} ${n}\n`).join('')
const histogram = (buckets: number) =>
  `# TYPE h histogram\n${Array.from({ length: buckets }, (_, n) => `h_bucket{le="${n}"} 1\n`).join('')}h_sum 1\nh_count 1\n`

describe('too many series', () => {
  test('cost the largest families, and the others are whole', () => {
    const body = `${GOOD}# HELP b Big\n# TYPE b gauge\n${series('b', 6000)}${histogram(1000)}${series('c', 4500)}`
    const read = readExposition(body)
    expect(read.families.map((family) => [family.name, family.samples.length])).toEqual([
      ['ok', 1],
      ['h', 1002],
    ])
    expect(read).toMatchObject({ malformed: 0, shed: 10_500 })
    expect(read.surplus?.message).toBe(
      'metrics: expected at most 5000 samples in 500 families, got 11503 in 4; left out the largest families, b first',
    )
  })

  test('keep the numbers of the lines that are left', () => {
    const read = readExposition(`${series('b', 6000)}${GOOD}bad one\n`)
    expect(read.fault?.message).toMatch(new RegExp(`line ${6001 + GOOD.split('\n').length - 1}, column`))
    expect(read).toMatchObject({ malformed: 1, shed: 6000 })
  })

  test('are bounded by the length of their lines, too', () => {
    const read = readExposition(`${GOOD}long{x="${'x'.repeat(20_000)}"} 1\nok2 1\n`)
    expect(read.families.map(({ name }) => name)).toEqual(['ok', 'ok2'])
    expect(read).toMatchObject({ malformed: 1, shed: 0 })
    expect(read.fault?.message).toMatch(/line 3, column 1: expected at most 16384 characters in a line/)
  })

  test('in very many families leave the first', () => {
    const names = Array.from({ length: 600 }, (_, n) => `f${n} 1\n`).join('')
    const read = readExposition(names)
    expect(read.families.map(({ name }) => name)).toEqual(Array.from({ length: 500 }, (_, n) => `f${n}`))
    expect(read.shed).toBe(100)
    const declared = Array.from({ length: 600 }, (_, n) => `# TYPE f${n} gauge\n`).join('')
    expect(readExposition(declared + GOOD).families).toHaveLength(500)
  })

  test.for<[what: string, text: string, message: RegExp]>([
    [
      'in more families than can be counted',
      Array.from({ length: 10_001 }, (_, n) => `f${n} 1\n`).join(''),
      /more than 10000$/,
    ],
    ['that are cut off', `${GOOD}${series('b', 6000)}b{n="x"} 1`, /expected a newline/],
    [
      'with a label that does not end on its line',
      `${series('b', 6000)}b{n="x\nok 2\n"} 1\n${GOOD}`,
      /line 6001.*closing "/,
    ],
    ['and as many comments', `${series('b', 6000)}${'#\n'.repeat(60_000)}`, /at most 50000 lines/],
  ])('%s put all in doubt', ([, body, message]) => {
    expect(() => readExposition(body)).toThrow(message)
  })
})

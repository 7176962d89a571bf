import fc from 'fast-check'
import { expect, test } from 'vitest'
import { IdSet } from '../../src/batch/id-set.ts'
import { LINE, LineStates } from '../../src/batch/line-set.ts'
import { formatRanges, idOfLine, tryCounts } from '../../src/batch/run-state.ts'
import { windowFor } from '../../src/batch/window.ts'
import { jobIdSchema } from '../../src/contract/ids.ts'

const RUN = '0123456789abcdef0123456789abcdef'

test('the lines of a retry are the lines that it opened', () => {
  const lines = fc.uniqueArray(fc.integer({ min: 1, max: 300 })).map((all) => all.toSorted((a, b) => a - b))
  fc.assert(
    fc.property(fc.array(lines, { maxLength: 4 }), (retries) => {
      const counts = tryCounts(retries.map(formatRanges), 300)
      for (let line = 1; line <= 300; line += 1) {
        expect(counts[line] ?? 0).toBe(retries.filter((opened) => opened.includes(line)).length)
      }
    }),
  )
  expect(formatRanges([3, 7, 8, 9, 12])).toBe('3,7-9,12')
})

test('a line has the same id in each run of a command, and another one when it, its number or the try is another', () => {
  const at = { line: 7, bytes: Buffer.from('{}'), own: undefined, tries: 0 }
  const ids = [
    idOfLine(RUN, at),
    idOfLine(RUN, { ...at, line: 8 }),
    idOfLine(RUN, { ...at, bytes: Buffer.from('{ }') }),
    idOfLine(RUN, { ...at, tries: 1 }),
    idOfLine(RUN, { ...at, own: 'mine' }),
    idOfLine(RUN, { ...at, own: 'mine', tries: 2 }),
  ]
  expect(new Set(ids).size).toBe(ids.length)
  expect(idOfLine(RUN, { ...at })).toBe(ids[0])
  expect(ids.at(-2)).toBe('mine')
  for (const id of ids) expect(jobIdSchema.safeParse(id).success).toBe(true)
  const long = 'x'.repeat(128)
  expect(idOfLine(RUN, { ...at, own: long })).toBe(long)
  expect(jobIdSchema.safeParse(idOfLine(RUN, { ...at, own: long, tries: 300 })).success).toBe(true)
})

test('a set of ids knows which it has, however many', () => {
  const set = new IdSet()
  for (let id = 0; id < 20_000; id += 1) expect(set.add(`job-${id}`)).toBe(true)
  for (let id = 0; id < 20_000; id += 7) expect(set.add(`job-${id}`)).toBe(false)
  expect(set.add('another')).toBe(true)
})

test('lines keep their states beyond any number', () => {
  const lines = new LineStates()
  lines.set(5000, LINE.failed)
  lines.set(3, LINE.failed)
  lines.set(4, LINE.answered)
  expect([lines.get(3), lines.get(4), lines.get(5), lines.get(100_000)]).toEqual([2, 1, 0, 0])
  expect([...lines.in(LINE.failed)]).toEqual([3, 5000])
})

test('the window follows slots and pace within its bounds', () => {
  expect([windowFor(0, 0), windowFor(100, 50), windowFor(10_000, 10_000)]).toEqual([32, 300, 1000])
})

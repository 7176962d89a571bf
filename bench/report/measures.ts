import type { BenchReport } from '../support/report.ts'

/** What was measured of each subject of a bench, by subject and then by measure. */
export type Measures = ReadonlyMap<string, ReadonlyMap<string, number>>

/** Sorts figures and baseline of a report by subject; what is about none stands under the empty name. */
export function measuresOf({ figures, baseline }: BenchReport, subjects: readonly string[]): Measures {
  const found = new Map<string, Map<string, number>>()
  for (const [name, value] of Object.entries({ ...figures, ...baseline })) {
    const about = subjects.filter((subject) => name.startsWith(`${subject}_`))
    const subject = about.toSorted((a, b) => b.length - a.length)[0] ?? ''
    const measure = subject === '' ? name : name.slice(subject.length + 1)
    found.set(subject, (found.get(subject) ?? new Map<string, number>()).set(measure, value))
  }
  // As the bench names them.
  return new Map(['', ...subjects].flatMap((name) => [[name, found.get(name)] as const]).filter(isFound))
}

function isFound<T>(pair: readonly [string, T | undefined]): pair is [string, T] {
  return pair[1] !== undefined
}

const UNITS = [
  ['_us_per_token', 'µs a token'],
  ['tokens_per_second', 'tokens/s'],
  ['_ms', 'ms'],
  ['_us', 'µs'],
  ['_mib', 'MiB'],
  ['_percent', '% of a core'],
] as const

/** A measure's name with its unit in brackets, as a heading. */
export function headingOf(measure: string): string {
  const [suffix = '', unit = ''] = UNITS.find(([end]) => measure.endsWith(end)) ?? []
  if (suffix === measure) return unit
  const words = measure.slice(0, measure.length - suffix.length).replaceAll('_', ' ')
  return unit === '' ? words : `${words} (${unit})`
}

/** A number for people: four digits are all that was measured. */
export function figureText(value: number): string {
  return value.toLocaleString('en', { maximumSignificantDigits: 4 })
}

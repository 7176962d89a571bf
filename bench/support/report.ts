import type { Machine } from './machine.ts'
import { median, rounded } from './statistics.ts'

/** How the benches are to run. */
export interface BenchSettings {
  /** As little as shows that everything works; its figures mean nothing. */
  readonly quick: boolean
  /** How long `memory` keeps its load up; its own default when absent. */
  readonly seconds: number | undefined
  /** Told what is going on, for people who wait. */
  readonly progress: (what: string) => void
}

/** A promise of the design and what was measured. */
interface BarReading {
  readonly what: string
  readonly limit: { readonly atLeast: number } | { readonly atMost: number }
  /** Of the unit that `what` names. */
  readonly got: number
}

/** What one run of a bench found. Names carry their units. */
export interface BenchReading {
  readonly figures: Readonly<Record<string, number>>
  /** The same things without tgi-pool, measured in the same run. */
  readonly baseline: Readonly<Record<string, number>>
  readonly ratios: Readonly<Record<string, number>>
  readonly bars: readonly BarReading[]
}

/** One question and how it is answered. */
export interface Bench {
  readonly name: string
  readonly question: string
  /** Who is compared: figures and baseline that begin with one of these and `_` are about it. */
  readonly subjects: readonly string[]
  /** Leaves nothing behind, neither processes nor files, also when it throws. */
  readonly run: (settings: BenchSettings) => Promise<BenchReading>
}

/** One bench in the document that `--json` prints; numbers have four significant digits. */
export interface BenchReport {
  readonly name: string
  readonly question: string
  readonly figures: Readonly<Record<string, number>>
  readonly baseline: Readonly<Record<string, number>>
  readonly ratios: Readonly<Record<string, number>>
  readonly bars: readonly {
    readonly what: string
    readonly bar: string
    readonly got: number
    readonly met: boolean
  }[]
  /** When it was run by itself, after the others of its document. */
  readonly again_on?: string | undefined
}

/** The document that `--json` prints. */
export interface BenchDocument {
  readonly machine: Machine
  readonly benches: readonly BenchReport[]
}

/** Makes one report of one or more runs: every number is the median of the runs'. */
export function reportOf(bench: Bench, readings: readonly BenchReading[]): BenchReport {
  const [first] = readings
  return {
    name: bench.name,
    question: bench.question,
    figures: medians(readings.map((reading) => reading.figures)),
    baseline: medians(readings.map((reading) => reading.baseline)),
    ratios: medians(readings.map((reading) => reading.ratios)),
    bars: (first?.bars ?? []).map(({ what, limit }, index) => {
      const got = rounded(median(readings.flatMap((reading) => reading.bars[index]?.got ?? [])))
      return 'atLeast' in limit
        ? { what, bar: `>= ${limit.atLeast}`, got, met: got >= limit.atLeast }
        : { what, bar: `<= ${limit.atMost}`, got, met: got <= limit.atMost }
    }),
  }
}

function medians(records: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const names = Object.keys(records[0] ?? {})
  return Object.fromEntries(
    names.map((name) => [name, rounded(median(records.flatMap((record) => record[name] ?? [])))]),
  )
}

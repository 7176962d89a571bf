import type { BenchReading } from '../support/report.ts'

/** What was measured of one rival, by name with its unit. */
type Measures = Readonly<Record<string, number>>

const OURS = 'tgi_pool'

/**
 * A reading from each rival's measures: ours are the figures, the others' the baseline. `compared` names the measures
 * whose ratios, ours to each rival's, are told too, where both are above 0.
 */
export function againstOurs(
  found: Readonly<Record<string, Measures>>,
  compared: readonly string[],
): BenchReading {
  const ours = found[OURS] ?? {}
  const others = Object.entries(found).filter(([name]) => name !== OURS)
  const ratios = others.flatMap(([name, measures]) =>
    compared.flatMap((measure): [string, number][] => {
      const [mine, theirs] = [ours[measure], measures[measure]]
      return mine && theirs ? [[`${measure}_to_${name}`, mine / theirs]] : []
    }),
  )
  return {
    figures: prefixed(OURS, ours),
    baseline: Object.assign({}, ...others.map(([name, measures]) => prefixed(name, measures))) as Measures,
    ratios: Object.fromEntries(ratios),
    bars: [],
  }
}

function prefixed(name: string, measures: Measures): Measures {
  return Object.fromEntries(Object.entries(measures).map(([measure, value]) => [`${name}_${measure}`, value]))
}

import { PoolError } from '../contract/error.ts'
import { errLine } from './print.ts'

/** The outcome of a line. */
export type LineOutcome = 'accepted' | 'existing' | { readonly refused: string }

/** The summary that ends `enqueue --file`. */
export interface EnqueueSummary {
  count(outcome: LineOutcome): void
  /** How many lines were accepted or existed before. */
  readonly jobs: number
  readonly refused: number
  /** Prints the summary on stderr, in one line. */
  print(json: boolean, interrupted: boolean): void
}

/** An empty summary; time runs from here. */
export function startSummary(): EnqueueSummary {
  const from = performance.now()
  const sums = { accepted: 0, existing: 0 }
  const refused = new Map<string, number>()
  const refusals = () => [...refused.values()].reduce((sum, count) => sum + count, 0)
  return {
    count(outcome) {
      if (typeof outcome === 'string') sums[outcome] += 1
      else refused.set(outcome.refused, (refused.get(outcome.refused) ?? 0) + 1)
    },
    get jobs() {
      return sums.accepted + sums.existing
    },
    get refused() {
      return refusals()
    },
    print(json, interrupted) {
      const seconds = Math.round(performance.now() - from) / 1000
      if (json) {
        const summary = { ...sums, refused: Object.fromEntries(refused), seconds, interrupted }
        errLine(JSON.stringify({ summary }))
        return
      }
      const codes = [...refused].map(([code, count]) => `${count} ${code}`).join(', ')
      const all = `${refusals()} refused${codes === '' ? '' : ` (${codes})`}`
      const end = interrupted ? '; interrupted' : ''
      errLine(
        `tgi-pool: ${sums.accepted} accepted, ${sums.existing} existing, ${all} in ${seconds.toFixed(1)} s${end}`,
      )
    },
  }
}

/** The code of the error that refused a line. */
export function codeOf(error: unknown): string {
  return error instanceof PoolError ? error.kind : 'INTERNAL'
}

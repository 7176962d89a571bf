import { PoolError } from '../contract/error.ts'

/** What became of a line. */
export type LineOutcome = 'accepted' | 'existing' | { readonly refused: string }

/** What a long enqueue tells at its end. */
export interface EnqueueSummary {
  count(outcome: LineOutcome): void
  /** Lines that are a job in the queue now. */
  readonly jobs: number
  readonly refused: number
  /** Says it all on stderr, in one line. */
  print(json: boolean, interrupted: boolean): void
}

/** Nothing has happened yet; time runs from here. */
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
        process.stderr.write(`${JSON.stringify({ summary })}\n`)
        return
      }
      const codes = [...refused].map(([code, count]) => `${count} ${code}`).join(', ')
      const all = `${refusals()} refused${codes === '' ? '' : ` (${codes})`}`
      const end = interrupted ? '; interrupted' : ''
      process.stderr.write(
        `tgi-pool: ${sums.accepted} accepted, ${sums.existing} existing, ${all} in ${seconds.toFixed(1)} s${end}\n`,
      )
    },
  }
}

/** The code of what refused a line. */
export function codeOf(error: unknown): string {
  return error instanceof PoolError ? error.kind : 'INTERNAL'
}

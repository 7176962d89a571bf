import type { Check, JobEvidence, RestEvidence, Violation } from './evidence.ts'

/** All that a run has come to. */
export interface Outcome {
  readonly seed: number
  readonly faults: ReadonlyMap<string, number>
  readonly jobs: readonly JobEvidence[]
  readonly rest: RestEvidence
  readonly violations: readonly Violation[]
}

/** How many violations are shown in full. */
const SHOWN = 20

/** What happened, as a table. */
export function formatTable({ faults, jobs, violations }: Outcome): string {
  const readings = jobs.flatMap((job) => job.readings)
  const sections = {
    faults,
    'jobs by outcome': tally(jobs.map(outcomeOf)),
    'attempts that went on': tally(jobs.flatMap(resumesOf)),
    consumers: new Map([
      ['readings', readings.length],
      ['events', readings.reduce((sum, { seen }) => sum + seen.length, 0)],
      ['restarts', readings.reduce((sum, { restarts }) => sum + restarts, 0)],
    ]),
    violations: tally(violations.map(({ check }) => check)),
  }
  return Object.entries(sections)
    .map(([title, rows]) => `${title}\n${formatRows(rows)}`)
    .join('\n')
}

function formatRows(rows: ReadonlyMap<string, number>): string {
  const sorted = [...rows].toSorted(([, a], [, b]) => b - a)
  if (sorted.length === 0) return '  none\n'
  return sorted.map(([name, count]) => `  ${name.padEnd(34)}${String(count).padStart(8)}\n`).join('')
}

function tally(names: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1)
  return counts
}

function outcomeOf({ events }: JobEvidence): string {
  const last = events?.at(-1)
  if (last?.event === 'error') return last.data.code
  if (last?.event === 'end') return last.data.exact ? 'end' : 'end with a seam'
  return 'none'
}

function resumesOf({ events = [] }: JobEvidence): string[] {
  return events.flatMap((event) =>
    event.event !== 'started' || event.data.attempt === 1
      ? []
      : [event.data.resume?.mode ?? 'began again before the first token'],
  )
}

/** The first violations in full, and how many there are. */
export function formatViolations(violations: readonly Violation[]): string {
  const shown = violations
    .slice(0, SHOWN)
    .map(({ check, jobId, message }) => `${check}: ${jobId === undefined ? '' : `${jobId} `}${message}\n`)
  const more = violations.length > SHOWN ? `and ${violations.length - SHOWN} more\n` : ''
  return shown.join('') + more
}

/** The last line: whether it held. */
export function formatVerdict(outcome: Outcome): string {
  const { seed, faults, jobs, rest, violations } = outcome
  const jobsWith = (check: Check) =>
    new Set(violations.filter((found) => found.check === check).map(({ jobId }) => jobId)).size
  const counts = {
    seed,
    jobs: jobs.length,
    faults: [...faults.values()].reduce((sum, count) => sum + count, 0),
    lost: jobsWith('lost'),
    holes: jobsWith('hole'),
    repeats: jobsWith('repeat'),
    double_terminals: jobsWith('double-terminal'),
    open_sockets: rest.simulators.reduce((sum, { open }) => sum + open, 0),
    leaked_slots: rest.replicas.reduce((sum, { busy }) => sum + busy, 0),
  }
  const told = Object.entries(counts).map(([name, count]) => `${name}=${count}`)
  if (violations.length === 0) return `chaos: OK ${told.join(' ')}`
  return `chaos: FAILED ${told.join(' ')} violations=${violations.length}`
}

import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { ON_INTERRUPT } from './job-mix.ts'
import type { OnInterrupt } from './job-mix.ts'

/** What a run is asked for. */
export interface ChaosOptions {
  /** How long faults are caused. */
  readonly minutes: number
  readonly seed: number
  readonly jobs: number
  readonly workers: number
  /** Where every fault and command is written; absent: a file in a folder of its own. */
  readonly log: string | undefined
  /** Locks and leases of one second, so that a short run sees many of them run out. */
  readonly shortLocks: boolean
  readonly onInterrupt: readonly OnInterrupt[]
  /** Answers that were interrupted do not go on; every one of them may end in `WORKER_RESET`. */
  readonly noResume: boolean
  /** Redis now and then loses the last moments before it dies, as a replica does that takes over. */
  readonly lossy: boolean
}

/** What the command takes. */
export const USAGE = `usage: npm run chaos -- [--minutes M] [--seed S] [--jobs N] [--workers W] [--log FILE]
  --minutes M        how long faults are caused; what follows takes a minute more [1]
  --seed S           draws the same jobs, the same faults and the same moments again, on any machine; not the
                     same timing of what they meet [drawn]
  --jobs N           how many jobs [240 a minute]
  --workers W        how many workers, for two thirds as many replicas; the others stand by [4]
  --log FILE         every fault and command with its time, as JSON lines [a file in a new folder, printed]
  --locks short|real locks and leases of 1 s, or of 5 s through the real command [short below 2 minutes]
  --on-interrupt L   what jobs ask for, of ${ON_INTERRUPT.join(',')} [all of them]
  --no-resume        a worker that cannot go on with an interrupted answer: WORKER_RESET is no fault
  --lossy            Redis now and then loses the last moments before it dies, though it had acknowledged them
`

const JOBS_PER_MINUTE = 240
const SHORT_BELOW_MINUTES = 2

/** Reads the command line; throws a sentence when it is none of ours. */
export function parseOptions(args: string[]): ChaosOptions | 'help' {
  const { values } = parseArgs({
    args,
    options: {
      minutes: { type: 'string', default: '1' },
      seed: { type: 'string' },
      jobs: { type: 'string' },
      workers: { type: 'string', default: '4' },
      log: { type: 'string' },
      locks: { type: 'string' },
      'on-interrupt': { type: 'string', default: ON_INTERRUPT.join() },
      'no-resume': { type: 'boolean', default: false },
      lossy: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  })
  if (values.help) return 'help'
  const minutes = number('--minutes', values.minutes, 0.01, 1440)
  const locks = values.locks ?? (minutes < SHORT_BELOW_MINUTES ? 'short' : 'real')
  if (locks !== 'short' && locks !== 'real')
    throw new Error(`--locks: expected short or real, got ${JSON.stringify(locks)}`)
  return {
    minutes,
    seed:
      values.seed === undefined
        ? Math.floor(Math.random() * 1e6)
        : integer('--seed', values.seed, 0, 2 ** 32),
    jobs:
      values.jobs === undefined
        ? Math.max(20, Math.round(minutes * JOBS_PER_MINUTE))
        : integer('--jobs', values.jobs, 1, 1_000_000),
    workers: integer('--workers', values.workers, 2, 32),
    log: values.log === undefined ? undefined : writable(values.log),
    shortLocks: locks === 'short',
    onInterrupt: wishes(values['on-interrupt']),
    noResume: values['no-resume'],
    lossy: values.lossy,
  }
}

/** A file that can be written is empty afterwards. */
function writable(path: string): string {
  try {
    writeFileSync(path, '')
    return path
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    throw new Error(`--log: cannot be written: ${why}`, { cause })
  }
}

function wishes(text: string): OnInterrupt[] {
  return text.split(',').map((word) => {
    const wish = ON_INTERRUPT.find((known) => known === word)
    if (wish !== undefined) return wish
    throw new Error(`--on-interrupt: expected some of ${ON_INTERRUPT.join(',')}, got ${JSON.stringify(word)}`)
  })
}

function number(flag: string, text: string, min: number, max: number): number {
  const value = Number(text)
  if (text.trim() !== '' && value >= min && value <= max) return value
  throw new Error(`${flag}: expected a number from ${min} to ${max}, got ${JSON.stringify(text)}`)
}

function integer(flag: string, text: string, min: number, max: number): number {
  const value = number(flag, text, min, max)
  if (Number.isInteger(value)) return value
  throw new Error(`${flag}: expected a whole number, got ${JSON.stringify(text)}`)
}

import { Option } from 'commander'
import type { Command } from 'commander'
import type { JobFilter } from '../client/job-list.ts'
import type { JobStateName } from '../contract/job-states.ts'
import type { Priority } from '../contract/job.ts'
import { duration } from './duration.ts'

/** Options that filter jobs. */
export interface FilterFlags<State extends JobStateName = JobStateName> {
  readonly state?: State
  readonly priority?: Priority
  readonly olderThan?: number
  readonly newerThan?: number
}

/** How a verb describes its filters. */
export interface FilterHelp {
  /** The states that `--state` accepts. */
  readonly states: readonly JobStateName[]
  /** What a filter chooses, e.g. `only jobs`. */
  readonly jobs: string
}

/** Adds `--state`, `--priority`, `--older-than` and `--newer-than`. */
export function withJobFilter(command: Command, { states, jobs }: FilterHelp): Command {
  return command
    .addOption(new Option('--state <state>', `${jobs} in this state`).choices(states))
    .addOption(
      new Option('--priority <priority>', `${jobs} of this priority`).choices(['interactive', 'batch']),
    )
    .option(
      '--older-than <duration>',
      `${jobs} that entered their state at least this long ago, e.g. 10m`,
      duration,
    )
    .option(
      '--newer-than <duration>',
      `${jobs} that entered their state at most this long ago, e.g. 1h`,
      duration,
    )
}

/** The filter that the options describe. */
export function filterOf({ state, priority, olderThan, newerThan }: FilterFlags): JobFilter {
  return { state, priority, olderThanMs: olderThan, newerThanMs: newerThan }
}

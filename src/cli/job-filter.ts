import { Option } from 'commander'
import type { Command } from 'commander'
import type { JobFilter } from '../client/job-list.ts'
import { JOB_STATES } from '../contract/job-states.ts'
import type { JobStateName } from '../contract/job-states.ts'
import type { Priority } from '../contract/job.ts'
import { duration } from './duration.ts'

/** Options that choose jobs. */
export interface FilterFlags {
  readonly state?: JobStateName
  readonly priority?: Priority
  readonly olderThan?: number
  readonly newerThan?: number
}

/** Adds `--state`, `--priority`, `--older-than` and `--newer-than`. */
export function withJobFilter(command: Command): Command {
  return command
    .addOption(new Option('--state <state>', 'only jobs in this state').choices(JOB_STATES))
    .addOption(
      new Option('--priority <priority>', 'only jobs of this priority').choices(['interactive', 'batch']),
    )
    .option(
      '--older-than <duration>',
      'only jobs that entered their state at least this long ago, e.g. 10m',
      duration,
    )
    .option(
      '--newer-than <duration>',
      'only jobs that entered their state at most this long ago, e.g. 1h',
      duration,
    )
}

/** The filter that the options describe. */
export function filterOf({ state, priority, olderThan, newerThan }: FilterFlags): JobFilter {
  return { state, priority, olderThanMs: olderThan, newerThanMs: newerThan }
}

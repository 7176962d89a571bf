import fc from 'fast-check'
import type { Priority } from '../../../src/contract/job.ts'
import { CLOCKS } from './clock.ts'
import type { ClockKind } from './clock.ts'

/**
 * What happens to one command on its way to Redis and back:
 *
 * | fault | executed | the caller hears |
 * |---|---|---|
 * | `none` | once | the answer |
 * | `lose_answer` | once | a broken line |
 * | `lose_command` | never | a broken line |
 * | `late` | once, some time later | a broken line, now |
 * | `twice_first`, `twice_second` | twice, where the driver sends again | the first answer, the second answer |
 * | `refuse` | never: Redis refuses it | the error |
 */
const FAULTS = [
  'none',
  'lose_answer',
  'lose_command',
  'late',
  'twice_first',
  'twice_second',
  'refuse',
] as const

/** What happens to a command. */
export type Fault = (typeof FAULTS)[number]

/** Lets the `pick`th of the commands that wait go to Redis. */
interface Advance {
  readonly pick: number
  readonly fault: Fault
}

/** `sweep`: the deadline passes, and somebody sweeps. `ghost`: a late command arrives. `expire`: the stream is gone. */
type Plain = 'enqueue' | 'cancel' | 'sweep' | 'expire' | 'snapshot' | 'ghost' | 'nothing'

/** One thing that somebody does; numbers choose among what is there, modulo how much of it there is. */
export type Action =
  | { readonly do: Plain }
  /** A worker takes the job from one of two queues; from a second one it may have been added under the same id. */
  | { readonly do: 'pick_up'; readonly queue: number; readonly goesOn: boolean }
  | { readonly do: 'tokens'; readonly attempt: number; readonly count: number }
  | { readonly do: 'end' | 'abort' | 'hand_back'; readonly attempt: number }
  /** A lock runs out under a worker that does not notice. */
  | { readonly do: 'lose_lock'; readonly queue: number }
  /** A failover: everything is as it was at one of the snapshots, and every line breaks. */
  | { readonly do: 'roll_back'; readonly to: number }
  | { readonly do: 'read'; readonly from: number }
  | { readonly do: 'cut_reader'; readonly reader: number }

/** One step of a schedule: an action, then some of the waiting commands. */
export interface Step {
  readonly action: Action
  readonly advance: readonly Advance[]
}

/** What happens to one job, in order. */
export interface Schedule {
  readonly steps: readonly Step[]
  readonly clock: ClockKind
  /** The job's, whoever puts it in a queue. */
  readonly priority: Priority
  /** What the attempts that are left do at the end. */
  readonly finale: 'end' | 'abort'
}

const nat = fc.nat({ max: 15 })
const plain = (name: Plain): fc.Arbitrary<Action> => fc.constant({ do: name })

const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 6, arbitrary: plain('enqueue') },
  { weight: 2, arbitrary: plain('cancel') },
  { weight: 3, arbitrary: plain('sweep') },
  { weight: 1, arbitrary: plain('expire') },
  { weight: 5, arbitrary: plain('snapshot') },
  { weight: 2, arbitrary: plain('ghost') },
  { weight: 4, arbitrary: plain('nothing') },
  {
    weight: 10,
    arbitrary: fc.record({
      do: fc.constant('pick_up' as const),
      queue: fc.nat({ max: 1 }),
      goesOn: fc.boolean(),
    }),
  },
  {
    weight: 16,
    arbitrary: fc.record({
      do: fc.constant('tokens' as const),
      attempt: nat,
      count: fc.integer({ min: 1, max: 4 }),
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('end', 'abort', 'hand_back'), attempt: nat }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('lose_lock' as const), queue: fc.nat({ max: 1 }) }) },
  { weight: 4, arbitrary: fc.record({ do: fc.constant('roll_back' as const), to: nat }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant('read' as const), from: nat }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant('cut_reader' as const), reader: nat }) },
)

const fault: fc.Arbitrary<Fault> = fc.oneof(
  { weight: 30, arbitrary: fc.constant('none' as const) },
  ...FAULTS.slice(1).map((name) => ({ weight: 1, arbitrary: fc.constant(name) })),
)

const step: fc.Arbitrary<Step> = fc.record({
  action,
  advance: fc.array(fc.record({ pick: nat, fault }), { maxLength: 4, size: 'max' }),
})

/** Any schedule. */
export const schedules: fc.Arbitrary<Schedule> = fc.record({
  steps: fc.array(step, { minLength: 12, maxLength: 45, size: 'max' }),
  clock: fc.constantFrom(...CLOCKS),
  priority: fc.constantFrom('interactive', 'batch'),
  finale: fc.constantFrom('end', 'abort'),
})

/** A schedule in one line a step, for people. */
export function formatSchedule({ steps, clock, priority, finale }: Schedule): string {
  const lines = steps.map(({ action: { do: name, ...rest }, advance }) => {
    const numbers = Object.values(rest).join(' ')
    return [name, numbers, ...advance.map((gate) => `→${gate.pick}:${gate.fault}`)]
      .filter((part) => part !== '')
      .join(' ')
  })
  return [`clock ${clock}, ${priority}`, ...lines, `finale ${finale}`].join('\n')
}

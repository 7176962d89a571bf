import fc from 'fast-check'
import { poolKeys } from '../../../src/contract/keys.ts'
import { ensurePool } from '../../../src/pool/config-store.ts'
import { connectToServer } from '../../../src/redis/connect.ts'
import { openLine } from '../../support/line.ts'
import type { Line } from '../../support/line.ts'
import type { Modules } from './modules.ts'
import { runSchedule } from './run-schedule.ts'
import type { Lane } from './run-schedule.ts'
import { formatSchedule, schedules } from './schedule.ts'

/** How long and from which seed a set of modules is tried. */
export interface PropertyOptions {
  readonly modules: Modules
  readonly url: string
  /** Schedules, all in all. */
  readonly runs: number
  readonly seed: number
  /** Name of the pools of this property: two may run on one server. */
  readonly name: string
  /** Look for a smaller schedule once one has failed. */
  readonly shrink: boolean
}

/** Schedules that run at the same time: most of one is spent waiting for a writer's or a reader's next try. */
const LANES = 6
const LINES = 2

/**
 * Tries schedules until one breaks a promise of the event log.
 *
 * @returns how, with the seed that does it again; undefined when none did.
 */
export async function findViolation(options: PropertyOptions): Promise<string | undefined> {
  const found = new AbortController()
  const lanes = Array.from({ length: LANES }, (_, index) => tryLane(options, index, found))
  return (await Promise.all(lanes)).find((sentence) => sentence !== undefined)
}

async function tryLane(
  options: PropertyOptions,
  index: number,
  found: AbortController,
): Promise<string | undefined> {
  const redis = await connectToServer(options.url, { role: 'writer' })
  const lines: Line[] = []
  const open = () => {
    const line = openLine(options.modules.createHub, options.url)
    lines.push(line)
    return line
  }
  try {
    const lane: Lane = {
      modules: options.modules,
      redis,
      // Two readers a line: they share its feed, and where one joins the other has read on.
      readers: Array.from({ length: LINES }, open).flatMap((line) => [line, line]),
      lastReader: open(),
      keys: poolKeys(`${options.name}-${index}`),
    }
    await ensurePool(lane.redis, lane.keys)
    const seed = options.seed + index
    let job = 0
    const result = await fc.check(
      fc.asyncProperty(schedules, async (schedule) => {
        // Another lane has found one: this one has nothing to add.
        if (found.signal.aborted) return
        await runSchedule(lane, `job-${(job += 1)}`, schedule)
      }),
      {
        seed,
        numRuns: Math.ceil(options.runs / LANES),
        endOnFailure: !options.shrink,
        interruptAfterTimeLimit: 30_000 + options.runs * 50,
      },
    )
    if (!result.failed) return undefined
    found.abort()
    const error =
      result.errorInstance instanceof Error ? result.errorInstance.message : String(result.errorInstance)
    const schedule = result.counterexample === null ? '' : formatSchedule(result.counterexample[0])
    return `seed ${seed}, run ${result.numRuns}: ${error}\n${schedule}`
  } finally {
    for (const line of lines) line.close()
    redis.disconnect()
  }
}

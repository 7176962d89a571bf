import { fire } from './fire.ts'
import { SOON_MS } from './judge.ts'
import { ENDS_MS } from './pending-jobs.ts'
import type { Reporter } from './reporter.ts'
import { mib } from './size.ts'
import type { ProcessName } from './stage.ts'
import type { ShotName } from './violation.ts'
import type { World } from './world.ts'

/** The worst shots are sent so often in a row. */
export const REPEATS = 50
/** By how much that may leave a process larger. */
const MOST_GROWTH = 1.2
/** Before it is measured a process has met the shot so often: what it keeps from the first time on, it keeps once. */
const WARM_UPS = 10
/** So many jobs are under way at once. */
const BESIDE = 4

/** What a process keeps again each time is lost; what it keeps once, such as a pool of buffers, is not. */
const ROUNDS = 3

/**
 * Sends one shot many times in a row; memory afterwards must be about what it was before, garbage left out. Where it is not, all is
 * done again: it counts if the process grows each time.
 */
export async function runSeries(
  {
    world,
    reporter,
    signal,
  }: { readonly world: World; readonly reporter: Reporter; readonly signal: AbortSignal },
  name: ShotName,
  process: ProcessName,
): Promise<void> {
  const { stage } = world
  let shot = world.draw(name)

  async function sendTimes(times: number): Promise<void> {
    const all: string[] = []
    for (let time = 0; time < times && stage.processes[process].death === undefined; time += 1) {
      signal.throwIfAborted()
      shot = world.draw(name)
      const { jobIds } = await fire(stage, shot)
      all.push(...jobIds)
      if (time % BESIDE === 0) await world.waitForJobs(jobIds, SOON_MS)
    }
    await world.waitForJobs(all, ENDS_MS)
  }

  await sendTimes(WARM_UPS)
  for (let round = 1; round <= ROUNDS; round += 1) {
    const before = await stage.processes[process].measure(true)
    stage.processes[process].takePeak()
    await sendTimes(REPEATS)
    const peakBytes = stage.processes[process].takePeak()
    const after = await stage.processes[process].measure(true)
    const { death, limitBytes } = stage.processes[process]
    if (before === undefined || after === undefined) {
      const expected = `a process that runs after ${REPEATS} in a row`
      reporter.report(name, shot, { check: 'alive', process, expected, got: death ?? 'silence' })
      await world.restart('all')
      return
    }
    reporter.say(
      `${REPEATS} × ${name.generator} ${name.shot}: ${process} ${mib(before.residentBytes)} → ${mib(after.residentBytes)}, at most ${mib(peakBytes)}; in use ${mib(before.heldBytes)} → ${mib(after.heldBytes)}`,
    )
    if (peakBytes > limitBytes) {
      const expected = `at most ${mib(limitBytes)} (mem_limit) during ${REPEATS} in a row`
      reporter.report(name, shot, { check: 'memory', process, expected, got: mib(peakBytes) })
    }
    const mostBytes = before.residentBytes * MOST_GROWTH
    if (after.residentBytes <= mostBytes) return
    if (round < ROUNDS) continue
    const expected = `at most ${mib(mostBytes)} after ${REPEATS} in a row (${mib(before.residentBytes)} before)`
    const got = `${mib(after.residentBytes)}, of which ${mib(after.heldBytes)} are in use (${mib(before.heldBytes)} before)`
    reporter.report(name, shot, { check: 'retained', process, expected, got })
  }
}

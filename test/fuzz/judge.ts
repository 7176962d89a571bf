import { fire } from './fire.ts'
import { ENDS_MS } from './pending-jobs.ts'
import type { PendingJobs } from './pending-jobs.ts'
import type { Reporter } from './reporter.ts'
import type { Shot } from './shot.ts'
import { mib } from './size.ts'
import { PROCESSES } from './stage.ts'
import type { ProcessName } from './stage.ts'
import type { ShotName } from './violation.ts'
import type { World } from './world.ts'
import type { Worst } from './worst.ts'
import { measureSlowness } from './yardstick.ts'

/** What a judge works with. */
export interface JudgePorts {
  readonly world: World
  readonly reporter: Reporter
  readonly pending: PendingJobs
  readonly worst: Worst
}

/** What a shot did to a process. */
interface Effect {
  readonly process: ProcessName
  readonly blockMs: number
  readonly peakBytes: number
  readonly isSilent: boolean
}

/** A shot that was sent, and what it did. */
interface Sent {
  readonly shot: Shot
  readonly ms: number
  readonly effects: readonly Effect[]
}

/** The longest block of an event loop that one request or job may cause (ms). */
const MOST_BLOCK_MS = 100
/** A suspect is sent again so often, alone; it counts if it blocks each time. */
const RETRIES = 5
/** How long a shot waits for its jobs before the next one goes out (ms). */
export const SOON_MS = 1500

/** Returns a function that sends a shot and reports all that did not hold. */
export function createJudge({
  world,
  reporter,
  pending,
  worst,
}: JudgePorts): (name: ShotName) => Promise<void> {
  const { stage } = world

  /** Sends a shot, waits for its jobs, and looks at what it did to each process. */
  async function send(name: ShotName): Promise<Sent> {
    const shot = world.draw(name)
    const processes = PROCESSES.map((process) => stage.processes[process])
    for (const measured of processes) measured.takePeak()
    await Promise.all(processes.map((measured) => measured.measure()))
    const startedAt = performance.now()
    const { faults, jobIds } = await fire(stage, shot)
    const isPatient = shot.kind === 'job' && shot.isDelayed !== true
    const left = await world.waitForJobs(jobIds, isPatient ? ENDS_MS : SOON_MS)
    const effects = await Promise.all(PROCESSES.map(takeEffect))
    const ms = performance.now() - startedAt
    reporter.note({ ...name, ms: Math.round(ms), effects, unended: left.length })
    for (const { expected, got, isPerhaps } of faults) {
      // Nobody answers for a dead gateway, which is reported by itself.
      if (isPerhaps && (stage.processes.gateway.death !== undefined || !(await comesAgain(name)))) continue
      reporter.report(name, shot, { check: 'answer', expected, got })
    }
    for (const jobId of jobIds) {
      if (!left.includes(jobId)) await pending.judgeEnd(name, shot, jobId)
    }
    if (isPatient && left.length > 0) await pending.reportUnended(name, shot, left)
    else pending.add(name, shot, left)
    return { shot, ms, effects }
  }

  async function takeEffect(process: ProcessName): Promise<Effect> {
    const measured = stage.processes[process]
    const measurement = await measured.measure()
    const blockMs = measurement?.blockMs ?? 0
    return { process, blockMs, peakBytes: measured.takePeak(), isSilent: measurement === undefined }
  }

  async function comesAgain(name: ShotName): Promise<boolean> {
    const { faults } = await fire(stage, world.draw(name))
    return faults.length > 0
  }

  async function judgeEffect(name: ShotName, shot: Shot, effect: Effect): Promise<void> {
    const { process, blockMs, peakBytes, isSilent } = effect
    const { death, limitBytes } = stage.processes[process]
    if (death !== undefined) {
      reporter.report(name, shot, { check: 'alive', process, expected: 'a process that runs', got: death })
      return
    }
    const expected = `at most ${MOST_BLOCK_MS} ms`
    if (isSilent) {
      reporter.report(name, shot, { check: 'block', process, expected, got: 'a minute and more' })
      await world.restart('all')
      return
    }
    if (peakBytes > limitBytes) {
      const most = `at most ${mib(limitBytes)} (mem_limit)`
      reporter.report(name, shot, { check: 'memory', process, expected: most, got: mib(peakBytes) })
    }
    // Of many connections each has its share of a block.
    const isCrowd = shot.kind === 'http' && shot.conversations.length > 1
    if (blockMs <= MOST_BLOCK_MS || isCrowd) return
    const least = await leastBlock(name, process)
    if (least === undefined) {
      const got = stage.processes[process].death ?? 'silence'
      reporter.report(name, shot, { check: 'alive', process, expected: 'a process that runs', got })
    } else if (least > MOST_BLOCK_MS) {
      const got = `${Math.round(least)} ms, the least of ${RETRIES} times`
      reporter.report(name, shot, { check: 'block', process, expected, got })
    }
  }

  /**
   * The shortest block of several tries, as it would be on a machine that is neither slow nor busy; undefined when the process does
   * not live through them.
   */
  async function leastBlock(name: ShotName, process: ProcessName): Promise<number | undefined> {
    let least = Infinity
    for (let time = 0; time < RETRIES && least > MOST_BLOCK_MS; time += 1) {
      const before = measureSlowness()
      const { effects } = await send(name)
      const effect = effects.find((each) => each.process === process)
      if (effect === undefined || effect.isSilent) return undefined
      least = Math.min(least, effect.blockMs / ((before + measureSlowness()) / 2))
    }
    return least
  }

  return async (name) => {
    const { shot, ms, effects } = await send(name)
    for (const effect of effects) {
      worst.note(name, { ...effect, ms })
      await judgeEffect(name, shot, effect)
    }
    for (const got of world.takeGoodJobFaults())
      reporter.report(name, shot, { check: 'good job', expected: 'its whole answer', got })
    for (const process of PROCESSES) {
      const expected = 'no prompt and no secret in a log'
      for (const line of stage.processes[process].takeLeaks())
        reporter.report(name, shot, { check: 'leak', process, expected, got: line.slice(0, 500) })
    }
    // What has killed one worker is in the queue still.
    if (stage.processes.worker.death !== undefined) await world.restart('all')
    else if (stage.processes.gateway.death !== undefined) await world.restart('dead')
    await pending.judge()
  }
}

import { checkEnd, describeJob } from './job-end.ts'
import type { Reporter } from './reporter.ts'
import type { Shot } from './shot.ts'
import type { ShotName } from './violation.ts'
import type { World } from './world.ts'

/** Jobs that were not over when the next shot went out. */
export interface PendingJobs {
  add(name: ShotName, sent: Shot, jobIds: readonly string[]): void
  /** Checks how those ended that are over by now, and reports those that should be. */
  judge(): Promise<void>
  /** Waits for all of them. */
  finish(): Promise<void>
  /** Checks how a job ended. */
  judgeEnd(name: ShotName, sent: Shot, jobId: string): Promise<void>
  /** Jobs did not end in time: nothing that follows would be sure, so all is started anew. */
  reportUnended(name: ShotName, sent: Shot, jobIds: readonly string[]): Promise<void>
}

/** By then every job is over (ms): the longest deadline (stage.ts), the 2 s of a sweep, and what a busy machine takes. */
export const ENDS_MS = 70_000

interface Pending {
  readonly name: ShotName
  readonly sent: Shot
  readonly jobId: string
  readonly until: number
  readonly age: number
}

/** None yet. */
export function createPendingJobs(world: World, reporter: Reporter): PendingJobs {
  let pending: Pending[] = []

  async function judgeEnd(name: ShotName, sent: Shot, jobId: string): Promise<void> {
    const fault = await checkEnd(world.stage.redis, jobId)
    if (fault !== undefined) reporter.report(name, sent, { check: 'job', ...fault })
  }

  async function reportUnended(name: ShotName, sent: Shot, jobIds: readonly string[]): Promise<void> {
    // A dead worker is reported by itself.
    if (world.stage.processes.worker.death !== undefined) return
    for (const jobId of jobIds.slice(0, 3)) {
      const got = await describeJob(world.stage.redis, jobId)
      reporter.report(name, sent, { check: 'job', expected: `its end within ${ENDS_MS / 1000} s`, got })
    }
    await world.restart('all')
  }

  /** Waits for pending jobs, and checks those that are over. */
  async function settle(ms: number): Promise<void> {
    pending = pending.filter(({ age }) => age === world.age)
    const left = new Set(
      await world.waitForJobs(
        pending.map(({ jobId }) => jobId),
        ms,
      ),
    )
    const over = pending.filter(({ jobId }) => !left.has(jobId))
    pending = pending.filter(({ jobId }) => left.has(jobId))
    for (const { name, sent, jobId } of over) await judgeEnd(name, sent, jobId)
    const late = pending.filter(({ until }) => performance.now() >= until)
    const [first] = late
    if (first !== undefined) await reportUnended(first.name, first.sent, [first.jobId])
  }

  return {
    add(name, sent, jobIds) {
      const until = performance.now() + ENDS_MS
      pending.push(...jobIds.map((jobId) => ({ name, sent, jobId, until, age: world.age })))
    },
    judge: () => settle(1),
    async finish() {
      while (pending.some(({ age }) => age === world.age)) await settle(500)
    },
    judgeEnd,
    reportUnended,
  }
}

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { checkCounts } from './check-counts.ts'
import { checkJob } from './check-job.ts'
import { checkOverdue, checkOverloads, checkRest } from './check-rest.ts'
import { collectJobs } from './collect.ts'
import { watchDeadlines } from './deadline-watch.ts'
import type { DeadlineWatch } from './deadline-watch.ts'
import type { Interval, Violation } from './evidence.ts'
import type { Journal, OnProcess } from './journal.ts'
import { openJournal } from './journal.ts'
import type { ChaosOptions } from './options.ts'
import { playFaults, playJobs } from './play.ts'
import type { Play } from './play.ts'
import { createRandom } from './random.ts'
import { awaitRest, heal } from './rest.ts'
import { drawSchedule } from './schedule.ts'
import type { ScheduledFault } from './schedule.ts'
import { KEYS, openStage, replicasFor } from './stage.ts'
import type { Stage } from './stage.ts'
import type { TrackedJob } from './tracked-job.ts'
import type { Outcome } from './verdict.ts'

/** Between two faults, on average. */
const GAP_MS = 550
const PROGRESS_MS = 5000
/** When the faults are over and no job was over for so long, none will be: replays of long answers take their time. */
const STANDSTILL_MS = 60_000
const REST_MS = 20_000

/** Runs it all: stage, faults and jobs, rest, evidence, checks. `say` is told how it goes. */
export async function runChaos(
  options: ChaosOptions,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<Outcome> {
  const folder = await mkdtemp(join(tmpdir(), 'tgi-pool-chaos-'))
  const path = options.log ?? join(folder, 'chaos.jsonl')
  const journal = openJournal(path)
  say(`log: ${path}; what the workers say: ${folder}`)
  let stage: Stage | undefined
  let outcome: Outcome | undefined
  try {
    const onProcess: OnProcess = (name, pid) => journal.write('process', { name, pid })
    stage = await openStage(options, folder, onProcess, signal)
    signal.throwIfAborted()
    outcome = await play({ options, stage, journal, signal, jobs: [], faults: [] }, say)
    return outcome
  } finally {
    await stage?.close()
    await journal.close()
    // What went wrong can be read in Redis's file, when it is started in that folder again.
    const isOk = outcome?.violations.length === 0
    if (isOk || signal.aborted) await rm(join(folder, 'redis'), { recursive: true, force: true })
  }
}

async function play(run: Play, say: (line: string) => void): Promise<Outcome> {
  const { stage, journal, signal, jobs } = run
  const lastMs = run.options.minutes * 60_000
  const schedule = scheduleOf(run, lastMs)
  journal.write('begin', { options: run.options, faults: schedule.length })
  const watch = watchDeadlines(stage.redis, KEYS)
  const stopTelling = tellProgress(run, say)
  try {
    const reading = playJobs(run, lastMs)
    // It is awaited further down; that it failed meanwhile is not unheard.
    reading.catch(() => undefined)
    await playFaults(run, schedule)
    say(`${jobs.length} jobs, the faults are over; waiting for rest`)
    await heal(stage, signal)
    await settle(reading, run)
    const rest = await awaitRest(stage, REST_MS, signal)
    await watch.stop()
    stopTelling()
    return await judge(run, watch, rest)
  } finally {
    stopTelling()
    await watch.stop()
  }
}

function scheduleOf({ options, stage }: Play, lastMs: number): ScheduledFault[] {
  return drawSchedule(createRandom(options.seed, 'faults'), {
    lastMs,
    gapMs: GAP_MS,
    workers: options.workers,
    simulators: replicasFor(options.workers),
    lockMs: stage.lockMs,
    lossy: options.lossy,
  })
}

/** Waits until every consumer was told that its job is over. Those that are not at a standstill are found by the checks. */
async function settle(reading: Promise<void>, { jobs, signal }: Play): Promise<void> {
  for (let before = -1; countOver(jobs) > before;) {
    before = countOver(jobs)
    const outcome = reading.then(() => 'over' as const)
    const wait = sleep(STANDSTILL_MS, 'late' as const, { signal, ref: false })
    if ((await Promise.race([outcome, wait])) === 'over') return
  }
}

function countOver(jobs: readonly TrackedJob[]): number {
  return jobs.filter(({ sealSeenAt }) => sealSeenAt !== undefined).length
}

async function judge(run: Play, watch: DeadlineWatch, rest: Outcome['rest']): Promise<Outcome> {
  const { stage, options, journal } = run
  const found: Violation[] = [...stage.faults]
  const jobs = await collectJobs(run, (violation) => void found.push(violation))
  const gone = new Set(jobs.filter(({ lost }) => lost.acceptance).map(({ jobId }) => jobId))
  found.push(...run.faults.filter(({ jobId = '' }) => !gone.has(jobId)))
  for (const { jobId, acceptedAt } of run.jobs) {
    if (acceptedAt === undefined) found.push({ check: 'lost', jobId, message: 'was never accepted' })
  }
  const violations = [
    ...found,
    ...jobs.flatMap(checkJob),
    ...checkOverdue(watch.overdue, stage.redisStage.away),
    ...checkOverloads(stage.overloads, excuses(stage)),
    ...checkRest(rest),
    ...(await checkCounts(stage.redis)),
  ]
  for (const violation of violations) journal.write('violation', { ...violation })
  return { seed: options.seed, faults: journal.faults, jobs, rest, violations }
}

function excuses(stage: Stage): Map<string, Interval[]> {
  const excused = new Map<string, Interval[]>()
  for (const { order, stopped } of stage.workers) {
    excused.set(order.replicaId, [...(excused.get(order.replicaId) ?? []), ...stopped])
  }
  return excused
}

function tellProgress({ jobs, journal }: Play, say: (line: string) => void): () => void {
  const startedAt = performance.now()
  const timer = setInterval(() => {
    const faults = sum(journal)
    const seconds = Math.round((performance.now() - startedAt) / 1000)
    say(`${seconds} s: ${countOver(jobs)} of ${jobs.length} jobs over, ${faults} faults`)
  }, PROGRESS_MS)
  return () => clearInterval(timer)
}

function sum({ faults }: Journal): number {
  return [...faults.values()].reduce((total, count) => total + count, 0)
}

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createJudge } from './judge.ts'
import type { FuzzOptions } from './options.ts'
import { createPendingJobs } from './pending-jobs.ts'
import { createReporter } from './reporter.ts'
import { REPEATS, runSeries } from './series.ts'
import { PROCESSES, openStage } from './stage.ts'
import type { Stage } from './stage.ts'
import type { Violation } from './violation.ts'
import { createWorld } from './world.ts'
import { createWorst } from './worst.ts'
import type { Worst } from './worst.ts'

/** What a run came to. */
export interface FuzzOutcome {
  readonly seed: number
  readonly shots: number
  readonly goodJobs: number
  /** Shots that were sent many times in a row. */
  readonly series: number
  readonly worst: Worst
  readonly violations: readonly Violation[]
}

/** The part of the time that single shots get; the rest is for series. */
const SINGLE_SHARE = 0.6
/** A generator that has failed so often is left out from then on. */
const MOST_FAILURES = 3
/** A series that would take longer is for runs that have the time (ms). */
const QUICK_SERIES_MS = 15_000

/** Sends shots for the time that was asked for; `say` gets progress. */
export async function runFuzz(
  options: FuzzOptions,
  say: (line: string) => void,
  signal: AbortSignal,
): Promise<FuzzOutcome> {
  const folder = await mkdtemp(join(tmpdir(), 'tgi-pool-fuzz-'))
  say(`shots, logs and what failed: ${folder}`)
  const stage = await openStage(folder)
  let outcome: FuzzOutcome | undefined
  try {
    outcome = await play(options, { stage, folder, say, signal })
    return outcome
  } finally {
    await stage.close()
    if (outcome?.violations.length === 0 || signal.aborted) await rm(folder, { recursive: true, force: true })
  }
}

interface PlayPorts {
  readonly stage: Stage
  readonly folder: string
  readonly say: (line: string) => void
  readonly signal: AbortSignal
}

async function play(options: FuzzOptions, { stage, folder, say, signal }: PlayPorts): Promise<FuzzOutcome> {
  const reporter = createReporter(folder, say)
  const world = createWorld(stage, options.seed)
  const pending = createPendingJobs(world, reporter)
  const worst = createWorst()
  const judge = createJudge({ world, reporter, pending, worst })
  const startedAt = performance.now()
  const leftMs = (share: number) => options.seconds * 1000 * share - (performance.now() - startedAt)
  let [shots, series] = [0, 0]
  try {
    // The first round is never cut short, so that each generator has its turn.
    for (let round = 0; round === 0 || leftMs(SINGLE_SHARE) > 0; round += 1) {
      const good = options.only.filter((generator) => reporter.failuresOf(generator) < MOST_FAILURES)
      if (good.length === 0) break
      for (const generator of good) {
        signal.throwIfAborted()
        if (round > 0 && leftMs(SINGLE_SHARE) <= 0) break
        await judge({ generator, shot: options.shot ?? round })
        shots += 1
      }
      const counts = `${shots} shots, ${world.goodJobs} good jobs, ${reporter.violations.length} violations`
      say(`round ${round}: ${counts}`)
    }
    for (const { process, ms, ...name } of worst.ranked()) {
      // Each process gets one in any case.
      if (series >= PROCESSES.length && leftMs(1) <= 0) break
      if (reporter.failuresOf(name.generator) > 0) continue
      if (ms * REPEATS > Math.max(QUICK_SERIES_MS, leftMs(1))) continue
      await runSeries({ world, reporter, signal }, name, process)
      series += 1
    }
    await pending.finish()
  } finally {
    world.stop()
  }
  const { violations } = reporter
  return { seed: options.seed, shots, goodJobs: world.goodJobs, series, worst, violations }
}

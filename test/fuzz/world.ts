import { GATEWAY_DEFAULTS } from '../../src/gateway/options.ts'
import { createRandom } from '../chaos/random.ts'
import { GENERATORS } from './generators.ts'
import { startGoodJobs } from './good-jobs.ts'
import type { GoodJobs } from './good-jobs.ts'
import { waitForEnds } from './job-end.ts'
import type { Shot } from './shot.ts'
import type { Stage } from './stage.ts'
import { drawBytes } from './text.ts'
import type { ShotName } from './violation.ts'

/** The stage with good jobs on it all the time. */
export interface World {
  readonly stage: Stage
  /** How often Redis was emptied: jobs of an earlier age are gone. */
  readonly age: number
  /** Good jobs that have ended well. */
  readonly goodJobs: number
  takeGoodJobFaults(): string[]
  /** Draws a shot: the same each time, but for the ids of its jobs. */
  draw(name: ShotName): Shot
  /** Waits for jobs, but no longer than the worker lives; those that are not over. */
  waitForJobs(jobIds: readonly string[], ms: number): Promise<string[]>
  /** Starts what is dead, or all with an empty Redis. */
  restart(how: 'dead' | 'all'): Promise<void>
  /** Ends the good jobs. */
  stop(): void
}

/** How often it is asked whether the worker lives (ms). */
const LOOK_MS = 200

/** Starts good jobs on a stage. */
export function createWorld(stage: Stage, seed: number): World {
  let good: GoodJobs = startGoodJobs(stage.client)
  let [age, before, draws] = [0, 0, 0]
  return {
    stage,
    get age() {
      return age
    },
    get goodJobs() {
      return before + good.count
    },
    takeGoodJobFaults: () => good.takeFaults(),
    draw({ generator, shot }) {
      const found = GENERATORS[generator]
      if (found === undefined) throw new Error(`no generator ${generator}`)
      const random = createRandom(seed, generator, shot)
      const limitBytes = GATEWAY_DEFAULTS.maxBodyBytes
      let ids = 0
      draws += 1
      return found.draw(random, {
        limitBytes,
        // The first of each generator is as large as it may be.
        bytes: shot === 0 ? limitBytes : drawBytes(random, limitBytes),
        bearer: stage.bearer,
        knownId: stage.knownId,
        newId: () => `fuzz-${draws}-${(ids += 1)}`,
      })
    },
    async waitForJobs(jobIds, ms) {
      let left = [...jobIds]
      const until = performance.now() + ms
      while (left.length > 0 && performance.now() < until && stage.processes.worker.death === undefined)
        left = await waitForEnds(stage.redis, left, Math.min(LOOK_MS, until - performance.now()))
      return left
    },
    async restart(how) {
      before += good.count
      good.stop()
      if (how === 'all') age += 1
      await stage.restart(how)
      good = startGoodJobs(stage.client)
    },
    stop: () => good.stop(),
  }
}

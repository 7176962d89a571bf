/**
 * How long is the gap that a reader sees when the worker behind an answer is replaced?
 *
 * Measured: in the reader, from the last token before a hand-over to the first token after the `started` that goes on with
 * the answer. Four workers of 12 slots, a process each, share a simulator at 50 tokens a second, that is 20 ms from token to
 * token; 24 readers follow answers of 200 tokens, each the next one as soon as one is over, through the library. One worker
 * after another is stopped without grace, so that all that runs on it is handed over, and another is started in its place.
 *
 * An answer goes on from the text so far (`continued`), or where the tokenizer allows no seam there it is generated once more
 * from its beginning, unseen and alone on a replica, for which all others there have to end first (`replayed`). As long as a
 * replica is kept for a replay it takes nothing else, so `continued` has waits for a free slot in it, too.
 *
 * In the same run: the gaps between all other tokens of these answers (`undisturbed`), and, after that, workers that are
 * killed (SIGKILL), which cannot hand over: their locks have to run out (`killed_…`).
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { monotonicMs } from './support/clock.ts'
import { newTag, withLab } from './support/lab.ts'
import type { Lab } from './support/lab.ts'
import type { Bench, BenchReading, BenchSettings } from './support/report.ts'
import { durations, percentile } from './support/statistics.ts'
import type { WeighedProcess } from './support/weighed-process.ts'
import { startWorkerProcess } from './support/worker-process.ts'

interface Size {
  readonly workers: number
  /** How often each worker is replaced. */
  readonly rounds: number
  readonly kills: number
  readonly readers: number
  readonly tokens: number
  /** How long a new worker gets to take its part (ms). */
  readonly settleMs: number
}

const SLOTS = 12
const FULL: Size = { workers: 4, rounds: 8, kills: 4, readers: 24, tokens: 200, settleMs: 1500 }
const QUICK: Size = { workers: 2, rounds: 1, kills: 1, readers: 4, tokens: 100, settleMs: 200 }

/** See the head of this file. */
export const handover: Bench = {
  name: 'handover',
  question: 'How long is the gap that a reader sees when the worker behind an answer is replaced?',
  subjects: ['continued', 'replayed', 'killed_continued', 'killed_replayed', 'undisturbed'],
  run: (settings) =>
    withLab({ tokensPerSecond: 50, prefillMs: 20, maxConcurrentRequests: 128, observed: false }, (lab) =>
      measure(lab, settings),
    ),
}

/** What the readers have seen since it was last emptied. */
interface Seen {
  /** By how the answer went on. */
  readonly continued: number[]
  readonly replayed: number[]
  readonly undisturbed: number[]
  errors: number
}

const nothing = (): Seen => ({ continued: [], replayed: [], undisturbed: [], errors: 0 })

async function measure(lab: Lab, settings: BenchSettings): Promise<BenchReading> {
  const size = settings.quick ? QUICK : FULL
  const workers = await Promise.all(Array.from({ length: size.workers }, (_, index) => start(lab, index)))
  const stop = new AbortController()
  let seen = nothing()
  const readers = Array.from({ length: size.readers }, async () => {
    while (!stop.signal.aborted) await readOne(lab, size.tokens, () => seen)
  })
  // Told below; a reader that fails ends the bench then.
  const reading = Promise.all(readers)
  reading.catch(() => undefined)
  try {
    await sleep(size.settleMs)
    seen = nothing()
    await replaceAll(lab, workers, size, settings)
    const handed = seen
    seen = nothing()
    await killSome(lab, workers, size, settings)
    stop.abort()
    await reading
    return readingOf(handed, seen)
  } finally {
    stop.abort()
    await Promise.all(workers.map((worker) => worker.stop()))
  }
}

function start(lab: Lab, index: number): Promise<WeighedProcess> {
  return startWorkerProcess({
    redisUrl: lab.redisUrl,
    pool: 'bench',
    replicaUrl: lab.simulator.url,
    replicaId: `bench-${index}`,
    slots: SLOTS,
  })
}

async function replaceAll(lab: Lab, workers: WeighedProcess[], size: Size, settings: BenchSettings) {
  for (let round = 0; round < size.rounds; round += 1) {
    settings.progress(`handover: round ${round + 1} of ${size.rounds}`)
    for (const [index, worker] of workers.entries()) {
      await worker.stop()
      workers[index] = await start(lab, index)
      await sleep(size.settleMs)
    }
  }
}

async function killSome(lab: Lab, workers: WeighedProcess[], size: Size, settings: BenchSettings) {
  for (let kill = 0; kill < size.kills; kill += 1) {
    settings.progress(`handover: kill ${kill + 1} of ${size.kills}`)
    const index = kill % workers.length
    await workers[index]?.kill()
    workers[index] = await start(lab, index)
    // Until everybody who was on it reads again.
    await sleep(10_000)
  }
}

/** Reads one answer to its end; puts what it sees where `seen` says at that moment. */
async function readOne(lab: Lab, tokens: number, seen: () => Seen): Promise<void> {
  const jobId = newTag()
  await lab.enqueue(jobId, tokens)
  let lastMs: number | undefined
  let after: 'continued' | 'replayed' | 'undisturbed' = 'undisturbed'
  for await (const event of lab.pool.events(jobId)) {
    const nowMs = monotonicMs()
    if (event.event === 'restart') throw new Error('Redis lost events')
    if (event.event === 'started' && event.data.resume !== undefined)
      after = event.data.resume.mode === 'replay' ? 'replayed' : 'continued'
    if (event.event === 'error') seen().errors += 1
    if (event.event !== 'token') continue
    if (lastMs !== undefined) seen()[after].push(nowMs - lastMs)
    lastMs = nowMs
    after = 'undisturbed'
  }
}

function readingOf(handed: Seen, killed: Seen): BenchReading {
  if (handed.continued.length === 0) throw new Error('no answer was handed over')
  const undisturbed = percentile(handed.undisturbed, 0.5)
  return {
    figures: {
      ...gapsOf('continued', handed.continued),
      ...gapsOf('replayed', handed.replayed),
      ...gapsOf('killed_continued', killed.continued),
      ...gapsOf('killed_replayed', killed.replayed),
      handover_errors: handed.errors,
      kill_errors: killed.errors,
    },
    baseline: durations('undisturbed', handed.undisturbed),
    ratios: { continued_p50_to_undisturbed: percentile(handed.continued, 0.5) / undisturbed },
    bars: [
      { what: 'errors seen while workers were replaced', limit: { atMost: 0 }, got: handed.errors },
      { what: 'errors seen while workers were killed', limit: { atMost: 0 }, got: killed.errors },
    ],
  }
}

function gapsOf(name: string, gaps: readonly number[]): Record<string, number> {
  return gaps.length === 0 ? {} : { ...durations(name, gaps), [`${name}_gaps`]: gaps.length }
}

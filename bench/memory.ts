/**
 * What does a worker weigh at work, and does it grow?
 *
 * Measured: the resident memory of a worker in a process of its own, every 250 ms: idle for a while, then with 64
 * streams of 50 tokens a second that are always under way, answers of 500 tokens, each followed by the next job. The
 * baseline is the same process idle. To tell growth from warming up, the last fifth of the time at work is held
 * against the first (median each). Not counted are the first twelve seconds at work, in which every slot gets through its first
 * answer and V8's heap takes its shape. `held_heap` is what is left of the JavaScript heap after a collection, once
 * at the end of each time: V8 takes far more than it holds, and a leak would show there first. Node's flags are the image's,
 * which bound its garbage.
 *
 * `--seconds 300` asks what the design asks: minute 5 against minute 1.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Lab } from './support/lab.ts'
import { newTag, withLab } from './support/lab.ts'
import type { Bench, BenchReading, BenchSettings } from './support/report.ts'
import { median } from './support/statistics.ts'
import type { WeighedProcess, Weight } from './support/weighed-process.ts'
import { startWorkerProcess } from './support/worker-process.ts'

interface Size {
  readonly streams: number
  readonly tokens: number
  readonly idleMs: number
  readonly warmUpMs: number
  readonly workMs: number
  readonly everyMs: number
}

const TOKENS_PER_SECOND = 50
const MIB = 2 ** 20

/** See the head of this file. */
export const memory: Bench = {
  name: 'memory',
  question: 'What does a worker weigh with 64 streams at 50 tokens/s, and does it grow?',
  subjects: ['work', 'idle'],
  run: (settings) =>
    withLab(
      { tokensPerSecond: TOKENS_PER_SECOND, prefillMs: 20, maxConcurrentRequests: 128, observed: false },
      (lab) => measure(lab, settings),
    ),
}

function sizeOf({ quick, seconds }: BenchSettings): Size {
  return quick
    ? { streams: 4, tokens: 20, idleMs: 300, warmUpMs: 300, workMs: (seconds ?? 2) * 1000, everyMs: 50 }
    : {
        streams: 64,
        tokens: 500,
        idleMs: 3000,
        warmUpMs: 12_000,
        workMs: (seconds ?? 60) * 1000,
        everyMs: 250,
      }
}

async function measure(lab: Lab, settings: BenchSettings): Promise<BenchReading> {
  const size = sizeOf(settings)
  const worker = await startWorkerProcess({
    redisUrl: lab.redisUrl,
    pool: lab.pool.pool,
    replicaUrl: lab.simulator.url,
    slots: size.streams,
  })
  let load: { stop(): Promise<void> } | undefined
  try {
    settings.progress('memory: idle')
    const idle = await weighFor(worker, size.idleMs, size.everyMs)
    const idleCollected = await worker.weigh(true)
    settings.progress(`memory: ${size.workMs / 1000} s at work`)
    load = startLoad(lab, size)
    await sleep(size.warmUpMs)
    const work = await weighFor(worker, size.workMs, size.everyMs)
    const idleHeap = idleCollected.heapBytes / MIB
    const workHeap = (await worker.weigh(true)).heapBytes / MIB
    return readingOf(idle, work, idleHeap, workHeap)
  } finally {
    await load?.stop()
    await worker.stop()
  }
}

function mib(weights: readonly Weight[]): number {
  return median(weights.map(({ rssBytes }) => rssBytes / MIB))
}

function readingOf(
  idle: readonly Weight[],
  work: readonly Weight[],
  idleHeapMib: number,
  workHeapMib: number,
): BenchReading {
  const fifth = Math.ceil(work.length / 5)
  const [idleMib, workMib] = [mib(idle), mib(work)]
  const growth = mib(work.slice(-fifth)) / mib(work.slice(0, fifth))
  return {
    figures: {
      work_rss_mib: workMib,
      work_rss_first_fifth_mib: mib(work.slice(0, fifth)),
      work_rss_last_fifth_mib: mib(work.slice(-fifth)),
      work_rss_max_mib: Math.max(...work.map(({ rssBytes }) => rssBytes / MIB)),
      work_held_heap_mib: workHeapMib,
      streams_under_way: median(work.map(({ busy }) => busy)),
      samples: work.length,
    },
    baseline: { idle_rss_mib: idleMib, idle_held_heap_mib: idleHeapMib },
    ratios: { work_to_idle: workMib / idleMib, last_to_first_fifth: growth },
    bars: [
      { what: 'at work above idle (MiB)', limit: { atMost: 80 }, got: Math.max(0, workMib - idleMib) },
      { what: 'last fifth against the first (×)', limit: { atMost: 1.05 }, got: growth },
    ],
  }
}

async function weighFor(worker: WeighedProcess, forMs: number, everyMs: number): Promise<Weight[]> {
  const weights: Weight[] = []
  const untilMs = performance.now() + forMs
  do {
    await sleep(everyMs)
    weights.push(await worker.weigh())
  } while (performance.now() < untilMs)
  return weights
}

/** Keeps as many jobs going as there are streams. Their starts are spread, so that they do not all end together. */
function startLoad(lab: Lab, { streams, tokens }: Size): { stop(): Promise<void> } {
  const stopping = new AbortController()
  const running = new Set<string>()
  async function lane(index: number): Promise<void> {
    const answerMs = (tokens * 1000) / TOKENS_PER_SECOND
    await sleep(((index / streams) * answerMs) / 4, undefined, { signal: stopping.signal }).catch(
      () => undefined,
    )
    while (!stopping.signal.aborted) {
      const tag = newTag()
      running.add(tag)
      await lab.enqueue(tag, tokens)
      await lab.sealed(tag)
      running.delete(tag)
    }
  }
  const lanes = Promise.all(Array.from({ length: streams }, (_, index) => lane(index)))
  // Told by `stop`; a lane that fails would otherwise be an unhandled rejection for a minute.
  lanes.catch(() => undefined)
  return {
    async stop() {
      stopping.abort()
      await Promise.all([...running].map((tag) => lab.pool.cancel(tag).catch(() => undefined)))
      await lanes
    },
  }
}

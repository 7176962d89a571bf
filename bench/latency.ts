/**
 * How much later is a token in the stream than its bytes in the worker?
 *
 * Measured, in the worker's process by its one clock: from the moment undici hands over the chunk that completes a
 * token to the moment the reply of the write that holds it has reached its caller, for every token, while 64 streams
 * of 50 tokens a second run through a real, unmodified worker (support/stamp-tokens.ts tells how). The way from the
 * simulator to the socket is not in it; what the event loop is late in reading the socket is not either.
 *
 * In the same run, before and after it: the same client and load, each token in an XADD that is awaited before the
 * stream's next one (`awaited_xadd`).
 *
 * Against noise: the parts alternate, and the first second of every part (JIT, script cache, pick-up of all jobs) is
 * not counted. The simulator sends what is due every 5 ms, so tokens arrive some sixteen at a time, as TGI's do after
 * each step of a batch; the later ones of such a burst wait for the earlier ones' writes, and that is in the figures.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { Lab } from './support/lab.ts'
import { newTag, withLab } from './support/lab.ts'
import type { Bench, BenchReading, BenchSettings } from './support/report.ts'
import { generateAwaitingXadd } from './support/sinks.ts'
import { stampTokens } from './support/stamp-tokens.ts'
import { durations, percentile } from './support/statistics.ts'

interface Size {
  readonly streams: number
  readonly tokens: number
  /** Tokens at the start of each stream that do not count. */
  readonly warmUp: number
}

const TOKENS_PER_SECOND = 50
const FULL: Size = { streams: 64, tokens: 400, warmUp: 50 }
const QUICK: Size = { streams: 4, tokens: 20, warmUp: 5 }

/** See the head of this file. */
export const latency: Bench = {
  name: 'latency',
  question: 'How much later is a token in the stream than in the worker, 64 streams at 50 tokens/s?',
  subjects: ['worker', 'awaited_xadd'],
  run: (settings) =>
    withLab(
      { tokensPerSecond: TOKENS_PER_SECOND, prefillMs: 20, maxConcurrentRequests: 256, observed: false },
      (lab) => measure(lab, settings),
    ),
}

async function measure(lab: Lab, settings: BenchSettings): Promise<BenchReading> {
  const size = settings.quick ? QUICK : FULL
  const redis = await lab.connect('writer')
  const worker = await lab.startWorker(size.streams)
  const awaited = () => stamped(lab, size, (tag) => generateAwaitingXadd(lab, redis, tag, size.tokens))
  const throughWorker = () =>
    stamped(lab, size, async (tag) => {
      await lab.enqueue(tag, size.tokens)
      await lab.sealed(tag)
    })

  settings.progress('latency: awaited XADD')
  const before = await awaited()
  settings.progress('latency: worker')
  const first = await throughWorker()
  settings.progress('latency: awaited XADD again')
  const after = settings.quick ? [] : await awaited()
  settings.progress('latency: worker again')
  const second = settings.quick ? [] : await throughWorker()
  await worker.stop(0)

  const ours = [...first, ...second]
  const theirs = [...before, ...after]
  const [p50, p99] = [percentile(ours, 0.5), percentile(ours, 0.99)]
  return {
    figures: { ...durations('worker', ours), worker_tokens: ours.length },
    baseline: { ...durations('awaited_xadd', theirs), awaited_xadd_tokens: theirs.length },
    ratios: {
      p50_to_awaited_xadd: p50 / percentile(theirs, 0.5),
      p99_to_awaited_xadd: p99 / percentile(theirs, 0.99),
    },
    bars: [
      { what: 'chunk to acknowledged, p50 (ms)', limit: { atMost: 0.5 }, got: p50 },
      { what: 'chunk to acknowledged, p99 (ms)', limit: { atMost: 3 }, got: p99 },
    ],
  }
}

/** Runs all streams at once and answers the latencies of their tokens. */
async function stamped(lab: Lab, size: Size, stream: (tag: string) => Promise<void>): Promise<number[]> {
  const stamping = stampTokens((tag) => lab.keys.events(tag))
  try {
    const starts = Array.from({ length: size.streams }, async (_, index) => {
      await sleep((index / size.streams) * (1000 / TOKENS_PER_SECOND))
      await stream(newTag())
    })
    await Promise.all(starts)
    // The last acknowledgements are on their way when the seal is told.
    await sleep(20)
    return [...stamping.latencies.values()].flatMap((stampsMs) => {
      if (stampsMs.length !== size.tokens)
        throw new Error(`${stampsMs.length} of ${size.tokens} tokens were acknowledged`)
      return stampsMs.slice(size.warmUp)
    })
  } finally {
    stamping.stop()
  }
}

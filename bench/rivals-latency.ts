/**
 * How much later does a reader have a token than the replica wrote it, against what one would use instead of tgi-pool?
 *
 * Measured: from the moment before the replica's write of a token to the moment its reader is told of it, for every token of
 * 64 answers at 50 tokens a second. The time of the write travels in the token's own text (support/stamped-text.ts), so all
 * ways are measured alike; replica and readers read the machine's monotonic clock. `direct` is what no way between can
 * better: it is in every figure. Who takes part stands in rivals-throughput.ts.
 *
 * Against noise: rivals take turns twice, and the first second of every turn (JIT, pick-up of all jobs) is not counted. The
 * simulator sends what is due every 5 ms, so tokens leave some sixteen at a time, as TGI's do after each step of a batch.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { againstOurs } from './rivals/against-ours.ts'
import { RIVAL_NAMES } from './rivals/rival.ts'
import type { Rival, RivalName } from './rivals/rival.ts'
import { withRivals } from './rivals/rivals.ts'
import { monotonicMs } from './support/clock.ts'
import { newTag, withLab } from './support/lab.ts'
import type { Lab } from './support/lab.ts'
import type { Bench, BenchReading, BenchSettings } from './support/report.ts'
import { stampOf } from './support/stamped-text.ts'
import { percentile } from './support/statistics.ts'

interface Size {
  readonly streams: number
  readonly tokens: number
  /** Tokens at the start of each answer that do not count. */
  readonly warmUp: number
  readonly turns: number
}

const TOKENS_PER_SECOND = 50
const FULL: Size = { streams: 64, tokens: 300, warmUp: 50, turns: 2 }
const QUICK: Size = { streams: 4, tokens: 20, warmUp: 5, turns: 1 }

/** See the head of this file. */
export const rivalsLatency: Bench = {
  name: 'rivals-latency',
  question: 'How much later does a reader have a token than the replica wrote it, 64 answers at 50 tokens/s?',
  subjects: RIVAL_NAMES,
  run: (settings) =>
    withLab(
      {
        tokensPerSecond: TOKENS_PER_SECOND,
        prefillMs: 20,
        maxConcurrentRequests: 256,
        observed: false,
        stamped: true,
      },
      (lab) => measure(lab, settings),
    ),
}

async function measure(lab: Lab, settings: BenchSettings): Promise<BenchReading> {
  const size = settings.quick ? QUICK : FULL
  const found = new Map<RivalName, number[]>(RIVAL_NAMES.map((name) => [name, []]))
  await withRivals(lab, { names: RIVAL_NAMES, slots: size.streams }, async (rivals) => {
    for (let turn = 0; turn < size.turns; turn += 1) {
      for (const rival of rivals) {
        settings.progress(`rivals-latency: ${rival.name}, turn ${turn + 1} of ${size.turns}`)
        for (const latency of await takeTurn(rival, size)) found.get(rival.name)?.push(latency)
      }
    }
  })
  return againstOurs(
    Object.fromEntries(
      [...found].map(([name, latencies]) => [
        name,
        { p50_ms: percentile(latencies, 0.5), p99_ms: percentile(latencies, 0.99) },
      ]),
    ),
    ['p50_ms', 'p99_ms'],
  )
}

/** Reads all answers at once; the latencies of their tokens. */
async function takeTurn(rival: Rival, { streams, tokens, warmUp }: Size): Promise<number[]> {
  const latencies: number[] = []
  await Promise.all(
    Array.from({ length: streams }, async (_, index) => {
      await sleep((index / streams) * (1000 / TOKENS_PER_SECOND))
      let got = 0
      await rival.ask(newTag(), tokens, (text) => {
        got += 1
        if (got > warmUp) latencies.push(monotonicMs() - stampOf(text))
      }).ended
      if (got !== tokens) throw new Error(`${rival.name}: ${got} of ${tokens} tokens came`)
    }),
  )
  return latencies
}

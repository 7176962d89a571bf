/**
 * How many tokens a second reach their readers, against what one would use instead of tgi-pool?
 *
 * Measured: 64 answers of 500 tokens at once, the simulator flat out, in rounds of several waves; from the first request to
 * the last reader's end. Replica, the process between, Redis and the readers (all in the bench's process) are processes of
 * their own on the same cores. `cpu_us_per_token` is the processor time of all but the replica.
 *
 * - `tgi_pool`: `enqueue`, a worker, `events` of the library;
 * - `bullmq_xadd`: a hand-written BullMQ worker that awaits one XADD a token, a blocking XREAD connection per reader;
 * - `resumable_stream`: the npm package, in a web handler that calls the replica; nobody leaves, so no token goes through
 *   Redis;
 * - `direct`: the readers call the replica themselves; nothing is kept.
 *
 * Against noise: rivals take turns round by round, medians of the rounds, the first round of each is thrown away.
 */
import { clearKeys } from './support/clear-keys.ts'
import { monotonicMs } from './support/clock.ts'
import { inParallel } from './support/in-parallel.ts'
import type { Lab } from './support/lab.ts'
import { newTag, withLab } from './support/lab.ts'
import { ownCpuMicros, redisCpuMicros } from './support/processor-time.ts'
import type { Bench, BenchReading, BenchSettings } from './support/report.ts'
import { median } from './support/statistics.ts'
import { RIVAL_NAMES } from './rivals/rival.ts'
import type { Rival, RivalName } from './rivals/rival.ts'
import { withRivals } from './rivals/rivals.ts'
import { againstOurs } from './rivals/against-ours.ts'

interface Size {
  readonly streams: number
  readonly tokens: number
  readonly waves: number
  readonly rounds: number
}

const FULL: Size = { streams: 64, tokens: 500, waves: 2, rounds: 5 }
const QUICK: Size = { streams: 4, tokens: 20, waves: 1, rounds: 1 }

/** What one round found. */
interface RoundReading {
  readonly tokensPerSecond: number
  readonly cpuMicros: number
}

/** See the head of this file. */
export const rivalsThroughput: Bench = {
  name: 'rivals-throughput',
  question: 'How many tokens a second reach 64 readers, flat out?',
  subjects: RIVAL_NAMES,
  run: (settings) =>
    withLab({ tokensPerSecond: 0, prefillMs: 0, maxConcurrentRequests: 256, observed: false }, (lab) =>
      measure(lab, settings),
    ),
}

async function measure(lab: Lab, settings: BenchSettings): Promise<BenchReading> {
  const size = settings.quick ? QUICK : FULL
  const found = new Map<RivalName, RoundReading[]>()
  await withRivals(lab, { names: RIVAL_NAMES, slots: size.streams }, async (rivals) => {
    for (let round = settings.quick ? 1 : 0; round <= size.rounds; round += 1) {
      settings.progress(`rivals-throughput: round ${round} of ${size.rounds}`)
      for (const rival of rivals) {
        const reading = await runRound(lab, rival, size)
        if (round > 0) found.set(rival.name, [...(found.get(rival.name) ?? []), reading])
      }
    }
  })
  return againstOurs(
    Object.fromEntries(
      [...found].map(([name, readings]) => [
        name,
        {
          tokens_per_second: median(readings.map((reading) => reading.tokensPerSecond)),
          cpu_us_per_token: median(readings.map((reading) => reading.cpuMicros)),
        },
      ]),
    ),
    ['tokens_per_second', 'cpu_us_per_token'],
  )
}

async function runRound(lab: Lab, rival: Rival, { streams, tokens, waves }: Size): Promise<RoundReading> {
  const control = await lab.connect('commands')
  await clearKeys(control, rival.leftovers)
  const before = await cpuMicros(rival, control)
  const startMs = monotonicMs()
  await inParallel(streams * waves, streams, async () => {
    let got = 0
    await rival.ask(newTag(), tokens, () => (got += 1)).ended
    if (got !== tokens) throw new Error(`${rival.name}: ${got} of ${tokens} tokens came`)
  })
  const seconds = (monotonicMs() - startMs) / 1000
  const all = streams * waves * tokens
  const used = (await cpuMicros(rival, control)) - before
  control.disconnect()
  return { tokensPerSecond: all / seconds, cpuMicros: used / all }
}

async function cpuMicros(
  { server, helpers }: Rival,
  redis: Awaited<ReturnType<Lab['connect']>>,
): Promise<number> {
  const processes = [...(server === undefined ? [] : [server]), ...helpers]
  const weights = await Promise.all(processes.map((process) => process.weigh()))
  const others = weights.reduce((sum, weight) => sum + weight.cpuMicros, 0)
  return ownCpuMicros() + (await redisCpuMicros(redis)) + others
}

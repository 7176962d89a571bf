/**
 * How many tokens a second go through one worker?
 *
 * Measured: 64 streams of 500 tokens at once, the simulator flat out, in rounds of several waves. A round is timed
 * from the moment its first request reaches the simulator to the last acknowledgement (the worker: the last seal,
 * told by Redis). So the worker's figure holds everything that a job costs it: BullMQ's pick-up, `started`, a
 * connection, the tokens, `end`, BullMQ's end. What a producer does is not in it: the jobs are enqueued before the
 * round's worker starts.
 *
 * In the same run, alternating with it round by round so that all see the same machine:
 * - `awaited_xadd`: the same client and token JSON, one XADD a token, awaited before the stream's next one;
 * - `awaited_write`: the same with the event log's own script, which is what coalescing alone is worth;
 * - `parse_only`: the same client, nothing written;
 * - `writer_alone`: client and attempt writer without jobs, to tell what a job costs from what a token costs.
 *
 * Against noise: medians of the rounds' rates and ratios of neighbours; the first round of each kind (JIT, script
 * cache) is thrown away.
 */
import { createEventLog } from '../src/stream/event-log.ts'
import type { PoolWorker } from '../src/worker/worker.ts'
import type { Lab } from './support/lab.ts'
import { newTag, withLab } from './support/lab.ts'
import { inParallel } from './support/in-parallel.ts'
import { clearKeys } from './support/clear-keys.ts'
import { monotonicMs } from './support/clock.ts'
import { ownCpuMicros, redisCpuMicros } from './support/processor-time.ts'
import type { Bench, BenchReading, BenchSettings } from './support/report.ts'
import {
  generateAwaitingWrite,
  generateAwaitingXadd,
  generateIntoWriter,
  generateOnly,
} from './support/sinks.ts'
import { median } from './support/statistics.ts'

interface Size {
  readonly streams: number
  readonly tokens: number
  /** How often the streams are run in one round. */
  readonly waves: number
  readonly rounds: number
}

const FULL: Size = { streams: 64, tokens: 500, waves: 4, rounds: 7 }
const QUICK: Size = { streams: 4, tokens: 20, waves: 1, rounds: 1 }

/** What one round found. */
interface RoundReading {
  readonly tokensPerSecond: number
  /** Processor time a token of this process: client, worker, driver (µs). */
  readonly nodeMicros: number
  /** Processor time a token of Redis (µs). */
  readonly redisMicros: number
}

type Round = () => Promise<RoundReading>

const KINDS = ['awaited_xadd', 'awaited_write', 'parse_only', 'worker', 'writer_alone'] as const
type Kind = (typeof KINDS)[number]

/** See the head of this file. */
export const throughput: Bench = {
  name: 'throughput',
  question: 'How many tokens a second go through one worker, 64 streams flat out?',
  subjects: KINDS,
  run: (settings) =>
    withLab({ tokensPerSecond: 0, prefillMs: 0, maxConcurrentRequests: 256, observed: true }, (lab) =>
      measure(lab, settings),
    ),
}

async function measure(lab: Lab, settings: BenchSettings): Promise<BenchReading> {
  const size = settings.quick ? QUICK : FULL
  const rounds = await createRounds(lab, size)
  const found: Record<Kind, RoundReading[]> = {
    awaited_xadd: [],
    awaited_write: [],
    parse_only: [],
    worker: [],
    writer_alone: [],
  }
  for (let round = settings.quick ? 1 : 0; round <= size.rounds; round += 1) {
    settings.progress(`throughput: round ${round} of ${size.rounds}`)
    for (const kind of KINDS) {
      const reading = await rounds[kind]()
      if (round > 0) found[kind].push(reading)
    }
  }
  const ratio = (over: Kind, under: Kind) =>
    median(
      found[over].map(
        (reading, index) => reading.tokensPerSecond / (found[under][index]?.tokensPerSecond ?? NaN),
      ),
    )
  const ratios = {
    worker_to_awaited_xadd: ratio('worker', 'awaited_xadd'),
    worker_to_awaited_write: ratio('worker', 'awaited_write'),
    worker_to_parse_only: ratio('worker', 'parse_only'),
    writer_alone_to_awaited_xadd: ratio('writer_alone', 'awaited_xadd'),
    writer_alone_to_parse_only: ratio('writer_alone', 'parse_only'),
  }
  return {
    figures: { ...figuresOf('worker', found.worker), ...figuresOf('writer_alone', found.writer_alone) },
    baseline: {
      ...figuresOf('awaited_xadd', found.awaited_xadd),
      ...figuresOf('awaited_write', found.awaited_write),
      ...figuresOf('parse_only', found.parse_only),
    },
    ratios,
    bars: [
      {
        what: 'through one worker, against awaiting one XADD a token (×)',
        limit: { atLeast: 3.5 },
        got: ratios.worker_to_awaited_xadd,
      },
      {
        what: 'through one worker, against parsing alone (×)',
        limit: { atLeast: 0.6 },
        got: ratios.worker_to_parse_only,
      },
    ],
  }
}

function figuresOf(kind: Kind, readings: readonly RoundReading[]): Record<string, number> {
  return {
    [`${kind}_tokens_per_second`]: median(readings.map((reading) => reading.tokensPerSecond)),
    [`${kind}_node_us_per_token`]: median(readings.map((reading) => reading.nodeMicros)),
    [`${kind}_redis_us_per_token`]: median(readings.map((reading) => reading.redisMicros)),
  }
}

async function createRounds(lab: Lab, { streams, tokens, waves }: Size) {
  const redis = await lab.connect('writer')
  const log = createEventLog(await lab.connect('writer'), lab.keys)
  const control = await lab.connect('commands')
  const jobs = streams * waves

  const timed =
    (
      run: (tags: readonly string[]) => Promise<void>,
      prepare?: (tags: readonly string[]) => Promise<void>,
    ): Round =>
    async () => {
      await clearKeys(control, lab.keys.events('*'))
      const tags = Array.from({ length: jobs }, newTag)
      await prepare?.(tags)
      const before = { node: ownCpuMicros(), redis: await redisCpuMicros(control) }
      await run(tags)
      const endMs = monotonicMs()
      const after = { node: ownCpuMicros(), redis: await redisCpuMicros(control) }
      const startMs = Math.min(...(await Promise.all(tags.map((tag) => lab.simulator.received(tag)))))
      const all = jobs * tokens
      return {
        tokensPerSecond: all / ((endMs - startMs) / 1000),
        nodeMicros: (after.node - before.node) / all,
        redisMicros: (after.redis - before.redis) / all,
      }
    }
  const bare = (stream: (tag: string) => Promise<void>): Round =>
    timed((tags) => inParallel(jobs, streams, (index) => stream(tags[index] ?? '')))
  const throughWorker = async (): Promise<RoundReading> => {
    let worker: PoolWorker | undefined
    const reading = await timed(
      async (tags) => {
        const over = Promise.all(tags.map((tag) => lab.sealed(tag)))
        worker = await lab.startWorker(streams)
        await over
      },
      (tags) => inParallel(jobs, 16, (index) => lab.enqueue(tags[index] ?? '', tokens)),
    )()
    await worker?.stop(0)
    return reading
  }

  return {
    parse_only: bare((tag) => generateOnly(lab, tag, tokens)),
    awaited_xadd: bare((tag) => generateAwaitingXadd(lab, redis, tag, tokens)),
    awaited_write: bare((tag) => generateAwaitingWrite(lab, log, tag, tokens)),
    writer_alone: bare((tag) => generateIntoWriter(lab, log, tag, tokens)),
    worker: throughWorker,
  } satisfies Record<Kind, Round>
}

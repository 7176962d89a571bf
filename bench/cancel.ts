/**
 * How soon after `cancel()` is the replica rid of the request, and is any cancel ever lost?
 *
 * Measured: from the call of `cancel()` to the close of the request's socket at the simulator, which is a process of
 * its own; both read the machine's monotonic clock. 200 decoding streams are cancelled one after another at random
 * times, while 32 others go on at 50 tokens a second through the same worker.
 *
 * In the same run, alternating with it: `abort()` straight on the bare client's request (`abort_alone`), under the
 * same load.
 *
 * Then 1,000 cancels race with jobs of ten tokens, 24 at once, at random times over pick-up, prefill, decoding and
 * the end. A cancel is lost when the job's stream has not exactly one terminal event and that at its end, when
 * `cancel()` said `cancelled` and that event says otherwise, when it said so and the request still ran to its own
 * end 100 ms later or more, or when a request is left open. `late` counts requests that were closed, but more than
 * 100 ms after `cancel()` had returned.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { SEAL_ID } from '../src/contract/stream-id.ts'
import { createEventLog } from '../src/stream/event-log.ts'
import type { EventLog } from '../src/stream/event-log.ts'
import { monotonicMs } from './support/clock.ts'
import { inParallel } from './support/in-parallel.ts'
import type { Lab } from './support/lab.ts'
import { newTag, withLab } from './support/lab.ts'
import type { Bench, BenchReading, BenchSettings } from './support/report.ts'
import { generation, listening } from './support/sinks.ts'
import { durations, percentile } from './support/statistics.ts'

const TOKENS_PER_SECOND = 50
const PREFILL_MS = 20
/** Longer than any of this takes. */
const ENDLESS_TOKENS = 100_000
const RACE_TOKENS = 10
/** A live worker has closed its socket by then; the design's invariant. */
const CLOSE_WITHIN_MS = 100

/** See the head of this file. */
export const cancel: Bench = {
  name: 'cancel',
  question: 'How soon after cancel() is the replica rid of the request, and is a cancel ever lost?',
  subjects: ['cancel', 'abort_alone'],
  run: (settings) =>
    withLab(
      {
        tokensPerSecond: TOKENS_PER_SECOND,
        prefillMs: PREFILL_MS,
        maxConcurrentRequests: 256,
        maxTotalTokens: 2 * ENDLESS_TOKENS,
        observed: true,
      },
      (lab) => measure(lab, settings),
    ),
}

async function measure(lab: Lab, settings: BenchSettings): Promise<BenchReading> {
  const size = settings.quick
    ? { background: 2, streams: 3, races: 12, raceWidth: 6 }
    : { background: 32, streams: 200, races: 1000, raceWidth: 24 }
  const worker = await lab.startWorker(64)
  const background = Array.from({ length: size.background }, newTag)
  for (const tag of background) await lab.enqueue(tag, ENDLESS_TOKENS)
  for (const tag of background) await lab.simulator.received(tag)

  const ours: number[] = []
  const theirs: number[] = []
  for (let stream = 0; stream < size.streams; stream += 1) {
    if (stream % 20 === 0) settings.progress(`cancel: stream ${stream} of ${size.streams}`)
    theirs.push(await abortAlone(lab))
    ours.push(await cancelOne(lab))
  }
  for (const tag of background) await lab.pool.cancel(tag)

  settings.progress(`cancel: ${size.races} races`)
  const races = await raceAll(lab, size.races, size.raceWidth)
  await worker.stop(0)

  const [p50, p99] = [percentile(ours, 0.5), percentile(ours, 0.99)]
  return {
    figures: { ...durations('cancel', ours), cancel_streams: ours.length, ...races },
    baseline: durations('abort_alone', theirs),
    ratios: {
      p50_to_abort_alone: p50 / percentile(theirs, 0.5),
      p99_to_abort_alone: p99 / percentile(theirs, 0.99),
    },
    bars: [
      { what: 'cancel() to socket closed at the replica, p50 (ms)', limit: { atMost: 3 }, got: p50 },
      { what: 'cancel() to socket closed at the replica, p99 (ms)', limit: { atMost: 10 }, got: p99 },
      { what: `lost of ${size.races} racing cancels`, limit: { atMost: 0 }, got: races.races_lost },
    ],
  }
}

/** Some tokens into the answer, and never in step with the simulator's clock. */
async function someTokens(): Promise<void> {
  await sleep(PREFILL_MS + 20 + Math.random() * 60)
}

async function cancelOne(lab: Lab): Promise<number> {
  const tag = newTag()
  await lab.enqueue(tag, ENDLESS_TOKENS)
  await lab.simulator.received(tag)
  await someTokens()
  const calledMs = monotonicMs()
  await lab.pool.cancel(tag)
  return (await lab.simulator.closed(tag)).atMs - calledMs
}

async function abortAlone(lab: Lab): Promise<number> {
  const tag = newTag()
  const stop = new AbortController()
  const { done } = lab.tgi.generate(
    generation(tag, ENDLESS_TOKENS),
    listening(() => undefined, stop.signal),
  )
  const ended = done.catch(() => undefined)
  await lab.simulator.received(tag)
  await someTokens()
  const calledMs = monotonicMs()
  stop.abort()
  await ended
  return (await lab.simulator.closed(tag)).atMs - calledMs
}

type Fate = 'cancelled' | 'already_over'

interface Race {
  readonly tag: string
  readonly fate: Fate
  /** When `cancel()` had returned. */
  readonly returnedMs: number
}

async function raceAll(lab: Lab, count: number, width: number) {
  const races: Race[] = []
  await inParallel(count, width, async () => {
    races.push(await raceOnce(lab))
  })
  const log = createEventLog(await lab.connect('writer'), lab.keys)
  for (const { tag } of races) await lab.sealed(tag)
  // What is still open after this has been forgotten.
  await sleep(10 * CLOSE_WITHIN_MS)
  const openRequests = await lab.simulator.openRequests()
  const checks = await Promise.all(races.map((race) => checkRace(lab, log, race)))
  return {
    races: races.length,
    races_cancelled: races.filter(({ fate }) => fate === 'cancelled').length,
    races_before_request: races.filter(({ tag }) => !lab.simulator.hasReceived(tag)).length,
    races_lost: checks.filter((check) => check === 'lost').length + openRequests,
    races_late: checks.filter((check) => check === 'late').length,
  }
}

async function raceOnce(lab: Lab): Promise<Race> {
  const tag = newTag()
  const decodingMs = (RACE_TOKENS * 1000) / TOKENS_PER_SECOND
  // One in three inside pick-up, where most can go wrong; the others over the whole life and a little beyond.
  const wholeMs = PREFILL_MS + decodingMs + 20
  const afterMs = Math.random() < 1 / 3 ? Math.random() * 8 : Math.random() * wholeMs
  await lab.enqueue(tag, RACE_TOKENS)
  // Nothing is awaited when the time is under a millisecond: timers would make one of it.
  if (afterMs >= 1) await sleep(afterMs)
  const fate = await lab.pool.cancel(tag)
  return { tag, fate, returnedMs: monotonicMs() }
}

async function checkRace(
  lab: Lab,
  log: EventLog,
  { tag, fate, returnedMs }: Race,
): Promise<'good' | 'late' | 'lost'> {
  const { entries } = await log.read(tag)
  const seals = entries.filter(({ event }) => event === 'end' || event === 'error')
  const [seal] = seals
  if (seal === undefined || seals.length !== 1 || entries.at(-1)?.id !== SEAL_ID) return 'lost'
  const isCancelled = seal.event === 'error' && seal.data.includes('"CANCELLED"')
  if (isCancelled !== (fate === 'cancelled')) return 'lost'
  if (fate !== 'cancelled' || !lab.simulator.hasReceived(tag)) return 'good'
  const { atMs, outcome } = await lab.simulator.closed(tag)
  if (atMs - returnedMs <= CLOSE_WITHIN_MS) return 'good'
  return outcome === 'aborted' ? 'late' : 'lost'
}

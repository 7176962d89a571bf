/**
 * What is left of an answer when the process that fetches it dies, against what one would use instead of tgi-pool?
 *
 * Measured: the process between replica and reader is killed (SIGKILL) at token 100 of 300 or soon after, while another one
 * of its kind runs. The reader reads on; when its connection breaks, it comes back to the other process, once. All rivals die in the
 * same minute, each in an answer of its own. From the kill:
 *
 * - `told_ms`: until the reader knows that the answer is over, well or not; the limit (75 s) where it is told nothing;
 * - `readable_tokens`: what somebody gets who asks for the whole answer just after the kill and waits for 1.5 s;
 * - `repeated_tokens`: tokens beyond the answer's own that the reader was told;
 * - `whole`: 1 when the reader has the whole answer by the limit, each token once.
 *
 * BullMQ's own times (lock 30 s, stalled check 30 s) are what `bullmq_xadd` waits for; its second try begins the answer anew
 * in the same stream. The text of `resumable_stream` lives in the process that fetched it. `direct` has no such process.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { againstOurs } from './rivals/against-ours.ts'
import type { Reading, Rival, RivalName } from './rivals/rival.ts'
import { startRival, withRivals } from './rivals/rivals.ts'
import { monotonicMs } from './support/clock.ts'
import { newTag, withLab } from './support/lab.ts'
import type { Lab } from './support/lab.ts'
import type { Bench, BenchReading, BenchSettings } from './support/report.ts'

interface Size {
  readonly tokens: number
  /** Told to the reader before the kill. */
  readonly killAt: number
  readonly limitMs: number
  /** How long who asks for the whole answer waits for it. */
  readonly lookMs: number
}

const NAMES = ['tgi_pool', 'bullmq_xadd', 'resumable_stream'] as const satisfies readonly RivalName[]
const FULL: Size = { tokens: 300, killAt: 100, limitMs: 75_000, lookMs: 1500 }
const QUICK: Size = { tokens: 400, killAt: 20, limitMs: 500, lookMs: 100 }

/** See the head of this file. */
export const rivalsDeath: Bench = {
  name: 'rivals-death',
  question: 'What is left of an answer when the process that fetches it is killed?',
  subjects: NAMES,
  run: (settings) =>
    withLab({ tokensPerSecond: 50, prefillMs: 20, maxConcurrentRequests: 16, observed: false }, (lab) =>
      measure(lab, settings),
    ),
}

async function measure(lab: Lab, settings: BenchSettings): Promise<BenchReading> {
  const size = settings.quick ? QUICK : FULL
  settings.progress(`rivals-death: ${size.limitMs / 1000} s`)
  return withRivals(lab, { names: NAMES, slots: 4 }, async (rivals) => {
    const found = await Promise.all(rivals.map((rival) => dieOnce(lab, rival, size)))
    return againstOurs(Object.fromEntries(rivals.map(({ name }, index) => [name, found[index] ?? {}])), [
      'told_ms',
    ])
  })
}

async function dieOnce(lab: Lab, rival: Rival, { tokens, killAt, limitMs, lookMs }: Size) {
  const tag = newTag()
  const enough = Promise.withResolvers<void>()
  let told = 0
  const onToken = () => {
    told += 1
    if (told >= killAt) enough.resolve()
  }
  const reading = rival.ask(tag, tokens, onToken)
  // A reader that fails before the kill is a fault of the bench.
  reading.ended.catch(enough.reject)
  // Only now, so that the answer is with the first one.
  const spare = await startSpare(lab, rival)
  try {
    await enough.promise
    if (told === tokens) throw new Error(`${rival.name}: the answer was over before the kill`)
    await rival.server?.kill()
    const killedMs = monotonicMs()
    const end = followToEnd(reading, onToken)
    const readable = await readableTokens(rival, tag, lookMs)
    const isTold = await Promise.race([
      end.over.then(() => true),
      sleep(Math.max(0, limitMs - (monotonicMs() - killedMs)), false),
    ])
    const toldMs = isTold ? (await end.over) - killedMs : limitMs
    end.leave()
    return {
      told_ms: toldMs,
      readable_tokens: readable,
      repeated_tokens: Math.max(0, told - tokens),
      whole: told === tokens ? 1 : 0,
    }
  } finally {
    await spare?.stop()
  }
}

/** Another process of the rival's kind; none where it has one already. */
async function startSpare(lab: Lab, rival: Rival): Promise<Rival | undefined> {
  if (rival.helpers.length > 0) return undefined
  return startRival(lab, rival.name, {
    redisUrl: lab.redisUrl,
    replicaUrl: lab.simulator.url,
    replicaId: 'spare',
    slots: 4,
    counted: false,
  })
}

/** Reads on, and comes back once when the reading breaks. */
function followToEnd(reading: Reading, onToken: () => void) {
  let current = reading
  const comeBack = () => {
    current = reading.comeBack(onToken)
    return current.ended.catch(() => undefined)
  }
  return {
    /** When it knew that no more will come (ms of the monotonic clock). */
    over: reading.ended.catch(comeBack).then(monotonicMs),
    leave: () => current.leave(),
  }
}

async function readableTokens(rival: Rival, tag: string, lookMs: number): Promise<number> {
  let tokens = 0
  const reading = rival.readAll(tag, () => (tokens += 1))
  // That there is nothing to read is an answer, too.
  const over = reading.ended.catch(() => undefined)
  await Promise.race([over, sleep(lookMs)])
  reading.leave()
  return tokens
}

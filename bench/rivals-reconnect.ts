/**
 * What does it cost to leave an answer and come back, against what one would use instead of tgi-pool?
 *
 * Measured: a reader leaves behind token 400 of 500, stays away for 100 ms (some 20 tokens at 200 a second) and comes back.
 * `caught_up_ms`: from its coming back until it has been told the last token that the replica had written by then.
 * `bytes`: what its sockets had read by then. `redis_commands`: what its process and the servers had sent to Redis by then
 * because it came back; a worker's writes, which go on whoever reads, are not among them.
 * `after_end_tokens`: the same, but it comes back when the answer is over: how many of the hundred tokens it missed it gets.
 *
 * - `tgi_pool`: `events` after the last id, over connections that its process has already;
 * - `bullmq_xadd`: a new connection, XREAD from the last id;
 * - `resumable_stream`: another handler, by the number of characters read; the first one sends what follows, and every later
 *   piece, through pub/sub;
 * - `direct` has nothing to come back to and takes no part.
 *
 * Against noise: rivals take turns, one answer each, medians over the turns; the first turn is thrown away.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { setTimeout as sleep } from 'node:timers/promises'
import { againstOurs } from './rivals/against-ours.ts'
import type { Rival, RivalName } from './rivals/rival.ts'
import { withRivals } from './rivals/rivals.ts'
import { monotonicMs } from './support/clock.ts'
import { newTag, withLab } from './support/lab.ts'
import type { Lab } from './support/lab.ts'
import type { Bench, BenchReading, BenchSettings } from './support/report.ts'
import { countSocketBytes } from './support/socket-bytes.ts'
import type { SocketBytes } from './support/socket-bytes.ts'
import { stampOf } from './support/stamped-text.ts'
import { median, percentile } from './support/statistics.ts'

interface Size {
  readonly tokens: number
  /** Read before it leaves. */
  readonly leaveAt: number
  readonly awayMs: number
  readonly turns: number
}

const NAMES = ['tgi_pool', 'bullmq_xadd', 'resumable_stream'] as const satisfies readonly RivalName[]
const TOKENS_PER_SECOND = 200
/** How often a turn is tried whose answer was over before its reader was back: the machine was late. */
const TRIES = 5
const FULL: Size = { tokens: 500, leaveAt: 400, awayMs: 100, turns: 5 }
const QUICK: Size = { tokens: 220, leaveAt: 20, awayMs: 30, turns: 1 }

/** What one return cost. */
interface Return {
  readonly caughtUpMs: number
  readonly bytes: number
  readonly commands: number
}

/** See the head of this file. */
export const rivalsReconnect: Bench = {
  name: 'rivals-reconnect',
  question: 'What does it cost a reader to leave an answer and come back?',
  subjects: NAMES,
  async run(settings) {
    const bytes = countSocketBytes()
    try {
      return await withLab(
        {
          tokensPerSecond: TOKENS_PER_SECOND,
          prefillMs: 20,
          maxConcurrentRequests: 16,
          observed: true,
          stamped: true,
        },
        (lab) => measure(lab, settings, bytes),
      )
    } finally {
      bytes.stop()
    }
  },
}

async function measure(lab: Lab, settings: BenchSettings, bytes: SocketBytes): Promise<BenchReading> {
  const size = settings.quick ? QUICK : FULL
  const returns = new Map<RivalName, Return[]>(NAMES.map((name) => [name, []]))
  const afterEnd = new Map<RivalName, number>()
  await withRivals(lab, { names: NAMES, slots: 4, counted: true }, async (rivals) => {
    for (let turn = settings.quick ? 1 : 0; turn <= size.turns; turn += 1) {
      settings.progress(`rivals-reconnect: turn ${turn} of ${size.turns}`)
      for (const rival of rivals) {
        const cost = await comeBackInTime(rival, size, bytes)
        if (turn > 0) returns.get(rival.name)?.push(cost)
      }
    }
    for (const rival of rivals) afterEnd.set(rival.name, await comeBackLate(lab, rival, size))
  })
  return againstOurs(
    Object.fromEntries(
      [...returns].map(([name, costs]) => [
        name,
        {
          caught_up_p50_ms: median(costs.map((cost) => cost.caughtUpMs)),
          caught_up_max_ms: percentile(
            costs.map((cost) => cost.caughtUpMs),
            1,
          ),
          bytes: median(costs.map((cost) => cost.bytes)),
          redis_commands: median(costs.map((cost) => cost.commands)),
          after_end_tokens: afterEnd.get(name) ?? 0,
        },
      ]),
    ),
    ['caught_up_p50_ms', 'bytes'],
  )
}

/** Reads up to where it leaves; resolves when it has left. */
async function readAndLeave(rival: Rival, tag: string, { tokens, leaveAt }: Size) {
  const left = Promise.withResolvers<void>()
  let got = 0
  const reading = rival.ask(tag, tokens, () => {
    got += 1
    if (got < leaveAt) return
    reading.leave()
    left.resolve()
  })
  reading.ended.catch(left.reject)
  await left.promise
  return reading
}

async function comeBackInTime(rival: Rival, size: Size, bytes: SocketBytes): Promise<Return> {
  for (let tries = 1; tries <= TRIES; tries += 1) {
    const cost = await comeBackOnce(rival, size, bytes)
    if (cost !== undefined) return cost
  }
  throw new Error(`${rival.name}: its reader missed tokens ${TRIES} times`)
}

/** What a return cost; undefined when the reader did not get all that it had missed. */
async function comeBackOnce(rival: Rival, size: Size, bytes: SocketBytes): Promise<Return | undefined> {
  const reading = await readAndLeave(rival, newTag(), size)
  await sleep(size.awayMs)
  const commands = await countCommands(rival)
  const bytesBefore = bytes.read()
  const backMs = monotonicMs()
  let got = size.leaveAt
  let caughtUp: Omit<Return, 'commands'> | undefined
  let commandsSent: Promise<number> | undefined
  const again = reading.comeBack((text) => {
    got += 1
    // Tokens come in order: with the last one that was written before, it has caught up.
    if (stampOf(text) < backMs)
      caughtUp = { caughtUpMs: monotonicMs() - backMs, bytes: bytes.read() - bytesBefore }
    else commandsSent ??= commands.stop()
  })
  await again.ended
  if (got !== size.tokens || caughtUp === undefined || commandsSent === undefined) return undefined
  return { ...caughtUp, commands: await commandsSent }
}

/** Comes back when the answer is over; how many tokens it gets then. */
async function comeBackLate(lab: Lab, rival: Rival, size: Size): Promise<number> {
  const tag = newTag()
  const reading = await readAndLeave(rival, tag, size)
  await lab.simulator.closed(tag)
  await sleep(size.awayMs)
  let got = 0
  await reading.comeBack(() => (got += 1)).ended
  return got
}

/** Counts commands that this process sends for a reader, and those of servers that write nothing of their own. */
async function countCommands(rival: Rival) {
  // The writes of a worker are no part of a return; a handler's are, since it writes only for those who came back.
  const servers = rival.name === 'resumable_stream' && rival.server !== undefined ? [rival.server] : []
  const processes = [...servers, ...rival.helpers]
  const sum = async () => {
    const weights = await Promise.all(processes.map((process) => process.weigh()))
    return weights.reduce((total, { commands }) => total + commands, 0)
  }
  const before = await sum()
  let own = 0
  const onCommand = () => (own += 1)
  subscribe('tracing:ioredis:command:start', onCommand)
  return {
    async stop() {
      unsubscribe('tracing:ioredis:command:start', onCommand)
      const mine = own
      return mine + (await sum()) - before
    },
  }
}

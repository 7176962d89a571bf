/**
 * How late are events at the subscribers of one gateway, and what do they cost it?
 *
 * Measured: 500, 1,000 and 2,000 live subscribers over HTTP, each of a job of its own, 20 tokens a second in each job.
 * Gateway, Redis, the subscribers (bare sockets) and the writer that plays all workers are a process each and share the
 * machine's cores. From just before the write of a token, by the event log's own script, to the subscriber's having its
 * bytes; the time of the write travels in the token's text. Not counted: the first three seconds. `redis_connections`: how
 * many more Redis has with the gateway and its subscribers than without. `rss_second_10_mib` and `rss_end_mib`: the gateway's
 * memory, from the first write on. `server_cpu_percent` and `redis_cpu_percent`: of one core.
 *
 * In the same run, for 1,000 subscribers: a server that holds a connection and a blocking XREAD for each and checks nothing
 * (`xread_each`).
 */
import { fanOut } from './gateway/fan-out.ts'
import type { FanOutSize } from './gateway/fan-out.ts'
import { startGatewayProcess } from './gateway/gateway-process.ts'
import type { Lab } from './support/lab.ts'
import { withLab } from './support/lab.ts'
import type { Bench, BenchReading, BenchSettings } from './support/report.ts'
import { startWeighedProcess } from './support/weighed-process.ts'
import type { WeighedProcess } from './support/weighed-process.ts'

const PER_SECOND = 20
const BAR_SUBSCRIBERS = 1000

interface Size {
  readonly subscribers: readonly number[]
  readonly baselineSubscribers: number
  readonly times: Pick<FanOutSize, 'warmUpMs' | 'weighAtMs' | 'endAtMs'>
}

const FULL: Size = {
  subscribers: [500, 1000, 2000],
  baselineSubscribers: BAR_SUBSCRIBERS,
  times: { warmUpMs: 3000, weighAtMs: 10_000, endAtMs: 20_000 },
}
const QUICK: Size = {
  subscribers: [10],
  baselineSubscribers: 10,
  times: { warmUpMs: 100, weighAtMs: 200, endAtMs: 500 },
}

type Measures = Readonly<Record<string, number>>

/** See the head of this file. */
export const subscribers: Bench = {
  name: 'subscribers',
  question: 'How late are events at the subscribers of one gateway, 20 a second each?',
  subjects: [
    ...[...FULL.subscribers, ...QUICK.subscribers].map((count) => `gateway_${count}`),
    ...[FULL, QUICK].map(({ baselineSubscribers: count }) => `xread_each_${count}`),
  ],
  run: (settings) =>
    withLab({ tokensPerSecond: 50, prefillMs: 0, maxConcurrentRequests: 1, observed: false }, (lab) =>
      measure(lab, settings),
    ),
}

async function measure(lab: Lab, settings: BenchSettings): Promise<BenchReading> {
  const size = settings.quick ? QUICK : FULL
  const runs: [string, Measures][] = []
  const sized = (count: number) => ({ subscribers: count, perSecond: PER_SECOND, ...size.times })
  for (const count of size.subscribers) {
    settings.progress(`subscribers: ${count}`)
    const server = () => startGatewayProcess({ redisUrl: lab.redisUrl })
    runs.push([`gateway_${count}`, await fanOut(lab, server, sized(count))])
  }
  const count = size.baselineSubscribers
  settings.progress(`subscribers: ${count}, an XREAD each`)
  const theirs = await fanOut(lab, () => startXreadEach(lab), sized(count))
  const ours = runs.find(([name]) => name === `gateway_${count}`)?.[1] ?? {}
  const [p50 = Number.NaN, p99 = Number.NaN] = [ours['p50_ms'], ours['p99_ms']]
  return {
    figures: Object.assign({}, ...runs.map(([name, measures]) => named(name, measures))) as Measures,
    baseline: named(`xread_each_${count}`, theirs),
    ratios: Object.fromEntries(
      ['p50_ms', 'p99_ms', 'redis_connections', 'server_cpu_us_per_token', 'redis_cpu_us_per_token'].map(
        (name) => [`${name}_to_xread_each`, (ours[name] ?? Number.NaN) / (theirs[name] ?? Number.NaN)],
      ),
    ),
    bars: [
      { what: `write to subscriber, ${count} subscribers, p50 (ms)`, limit: { atMost: 15 }, got: p50 },
      { what: `write to subscriber, ${count} subscribers, p99 (ms)`, limit: { atMost: 60 }, got: p99 },
    ],
  }
}

function named(name: string, measures: Measures): Measures {
  return Object.fromEntries(Object.entries(measures).map(([key, value]) => [`${name}_${key}`, value]))
}

function startXreadEach({ redisUrl }: Lab): Promise<WeighedProcess> {
  const script = new URL('gateway/xread-each-child.ts', import.meta.url)
  return startWeighedProcess({ script, settings: { redisUrl } })
}

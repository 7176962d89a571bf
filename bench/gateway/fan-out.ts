import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { clearKeys } from '../support/clear-keys.ts'
import { monotonicMs } from '../support/clock.ts'
import type { Lab } from '../support/lab.ts'
import { newTag } from '../support/lab.ts'
import { redisCpuMicros } from '../support/processor-time.ts'
import type { WeighedProcess } from '../support/weighed-process.ts'
import { startSubscribers } from './subscribers-process.ts'
import type { Delivery, SubscribersOrder } from './subscribers-process.ts'
import { startWriterProcess } from './writer-process.ts'
import type { WriterOrder } from './writer-process.ts'

/** How long, and how many. Times count from the first write on. */
export interface FanOutSize {
  readonly subscribers: number
  /** Tokens a second for each. */
  readonly perSecond: number
  readonly warmUpMs: number
  /** When the memory is weighed first; again at the end. */
  readonly weighAtMs: number
  readonly endAtMs: number
}

/** What one run found, by name with its unit. */
type Measures = Readonly<Record<string, number>>

const MIB = 2 ** 20

/** Has a server deliver the events of as many jobs to a subscriber each; it is stopped in the end. */
export async function fanOut(
  lab: Lab,
  startServer: () => Promise<WeighedProcess>,
  size: FanOutSize,
): Promise<Measures> {
  const control = await lab.connect('commands')
  await clearKeys(control, lab.keys.events('*'))
  const jobs = { tag: newTag(), count: size.subscribers }
  const { redisUrl } = lab
  const { pool } = lab.pool
  const started: WeighedProcess[] = []
  const keep = async (starting: Promise<WeighedProcess>) => {
    const child = await starting
    started.push(child)
    return child
  }
  try {
    const writer = await keep(startWriterProcess({ redisUrl, pool, jobs, perSecond: size.perSecond }))
    const before = await connections(control)
    const server = await keep(startServer())
    const readers = await keep(startSubscribers({ url: server.url, pool, jobs }))
    const added = (await connections(control)) - before
    return { ...(await deliver({ control, writer, server, readers }, size)), redis_connections: added }
  } finally {
    control.disconnect()
    await Promise.all(started.toReversed().map((child) => child.stop()))
  }
}

interface Parts {
  readonly control: Redis
  readonly writer: WeighedProcess
  readonly server: WeighedProcess
  readonly readers: WeighedProcess
}

async function deliver({ control, writer, server, readers }: Parts, size: FanOutSize): Promise<Measures> {
  await writer.order('go' satisfies WriterOrder)
  const startMs = monotonicMs()
  const until = (ms: number) => sleep(Math.max(0, startMs + ms - monotonicMs()))
  await until(size.warmUpMs)
  await readers.order('forget' satisfies SubscribersOrder)
  const cpuBefore = { server: (await server.weigh()).cpuMicros, redis: await redisCpuMicros(control) }
  const countedFromMs = monotonicMs()
  await until(size.weighAtMs)
  const early = await server.weigh()
  await until(size.endAtMs)
  // From our own child, whose type is the order's.
  const delivery = (await readers.order('tell' satisfies SubscribersOrder)) as Delivery
  const countedMicros = (monotonicMs() - countedFromMs) * 1000
  const late = await server.weigh()
  const serverMicros = late.cpuMicros - cpuBefore.server
  const redisMicros = (await redisCpuMicros(control)) - cpuBefore.redis
  await writer.order('end' satisfies WriterOrder)
  return {
    p50_ms: delivery.p50Ms,
    p99_ms: delivery.p99Ms,
    tokens_per_second: delivery.tokens / (countedMicros / 1e6),
    server_cpu_percent: (serverMicros / countedMicros) * 100,
    redis_cpu_percent: (redisMicros / countedMicros) * 100,
    server_cpu_us_per_token: serverMicros / delivery.tokens,
    redis_cpu_us_per_token: redisMicros / delivery.tokens,
    rss_second_10_mib: early.rssBytes / MIB,
    rss_end_mib: late.rssBytes / MIB,
  }
}

async function connections(redis: Redis): Promise<number> {
  const list = String(await redis.client('LIST'))
  return list.trim().split('\n').length
}

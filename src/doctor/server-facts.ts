import type { Redis } from 'ioredis'
import { redactUrl } from '../redis/address.ts'
import { redisTimeMs } from '../redis/connect.ts'
import { isRefusal } from '../redis/fault.ts'
import { isPermission } from './look.ts'
import { CONFIG_NAMES, parseServerConfig, parseServerInfo } from './server-info.ts'
import type { ServerConfig, ServerInfo } from './server-info.ts'
import { isLoopback } from '../runtime/loopback.ts'

/** What was seen of a server. */
export interface ServerFacts {
  /** Without credentials. */
  readonly url: string
  /** Sent over TLS. */
  readonly tls: boolean
  /** The address leads to this machine. */
  readonly loopback: boolean
  /** How long PING takes (ms). */
  readonly ping: { readonly p50: number; readonly p99: number }
  /** Redis's clock minus ours (ms). */
  readonly clockAheadMs: number
  /** Empty when this user may not look. */
  readonly info: ServerInfo
  readonly config: ServerConfig
  /** Commands that this user may not run. */
  readonly forbidden: readonly string[]
}

const PINGS = 50
/** A slow line gets fewer (ms). */
const PINGS_MS = 2000

/** Looks at a server: some fifty short commands, none of which writes. */
export async function readServer(
  redis: Redis,
  url: string,
  now: () => number = Date.now,
): Promise<ServerFacts> {
  const forbidden: string[] = []
  const ask = async <T>(command: string, work: Promise<T>): Promise<T | undefined> => {
    try {
      return await work
    } catch (error) {
      if (!isPermission(error)) throw error
      forbidden.push(command)
      return undefined
    }
  }
  const ping = await timePings(redis)
  const info = await ask('INFO', redis.info())
  const config = await ask('CONFIG GET', redis.config('GET', ...CONFIG_NAMES) as Promise<unknown>)
  const before = now()
  const time = await ask('TIME', redisTimeMs(redis))
  const middle = (before + now()) / 2
  // Sentinels may name any host; a plain address keeps the name that it was given.
  const hostname = URL.canParse(url) ? new URL(url).hostname : (redis.stream.remoteAddress ?? '')
  return {
    url: redactUrl(url),
    tls: url.startsWith('rediss'),
    loopback: isLoopback(hostname),
    ping,
    clockAheadMs: time === undefined ? 0 : Math.round(time - middle),
    info: parseServerInfo(info ?? ''),
    config: parseServerConfig(config),
    forbidden,
  }
}

async function timePings(redis: Redis): Promise<ServerFacts['ping']> {
  const times: number[] = []
  const until = performance.now() + PINGS_MS
  while (times.length < PINGS && performance.now() < until) {
    const from = performance.now()
    // A refusal took as long: a server that cannot write its file refuses PING, too (MISCONF; Redis 7.0, server.c).
    await redis.ping().catch((error: unknown) => {
      if (!isRefusal(error) && !isPermission(error)) throw error
    })
    times.push(performance.now() - from)
  }
  // The first one warms the line up.
  const sorted = (times.length > 1 ? times.slice(1) : times).toSorted((a, b) => a - b)
  return { p50: quantile(sorted, 0.5), p99: quantile(sorted, 0.99) }
}

function quantile(sorted: readonly number[], part: number): number {
  const at = Math.min(sorted.length - 1, Math.floor(part * sorted.length))
  return Math.round((sorted[at] ?? 0) * 100) / 100
}

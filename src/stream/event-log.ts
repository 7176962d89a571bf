import { readFileSync } from 'node:fs'
import type { ChainableCommander, Redis, Result } from 'ioredis'
import type { PoolKeys } from '../contract/keys.ts'
import { SEAL_ID, START } from '../contract/stream-id.ts'
import type { Cursor } from '../contract/stream-id.ts'
import { timeReplyToMs } from '../redis/connect.ts'
import { parseRawEntry } from './entry.ts'
import type { LogEntry, RawEntry } from './entry.ts'

const WRITE_LUA = readFileSync(new URL('write.lua', import.meta.url), 'utf8')

declare module 'ioredis' {
  interface RedisCommander<Context> {
    tgiPoolWrite(
      stream: string,
      deadlines: string,
      ...args: (string | number)[]
    ): Result<[number, string], Context>
  }
}

/** Expectation of a write: whatever is there, as long as it is something and not the seal. */
export const ANYTHING = '*'

/** A write to one job's stream: all entries or none. */
export interface WriteRequest {
  readonly jobId: string
  /** The id that must be the last one; {@link START}: there is no stream yet, create it; {@link ANYTHING}. */
  readonly expect: Cursor | typeof ANYTHING
  /** Ids ascending. */
  readonly entries: readonly LogEntry[]
  /** Used when the stream is created (ms since 1970, by Redis's clock). */
  readonly deadlineAt: number
  /** How long the stream lives after its seal, or after its deadline (ms). */
  readonly retentionMs: number
}

/** What became of a write. Refused means that nothing changed; `last` says why. */
export interface WriteResult {
  readonly written: boolean
  /** The last id in the stream now; {@link START} when there is no stream. */
  readonly last: Cursor
}

/** A job's stream as it stands. */
export interface StreamSnapshot {
  readonly entries: readonly LogEntry[]
  /** Redis's clock when it was read (ms since 1970). */
  readonly nowMs: number
}

/** The event streams of one pool, over one connection. Each method is one round trip; errors of Redis pass through. */
export interface EventLog {
  write(request: WriteRequest): Promise<WriteResult>
  /** Every entry of a stream, with Redis's clock. */
  read(jobId: string): Promise<StreamSnapshot>
  /** The last entry of each stream; undefined where there is none. */
  lastEntries(jobIds: readonly string[]): Promise<(LogEntry | undefined)[]>
}

/** Opens the event log of a pool on a connection. */
export function createEventLog(redis: Redis, keys: PoolKeys): EventLog {
  redis.defineCommand('tgiPoolWrite', { numberOfKeys: 2, lua: WRITE_LUA })
  return {
    async write({ jobId, expect, entries, deadlineAt, retentionMs }) {
      const args: (string | number)[] = [expect, SEAL_ID, jobId, deadlineAt, retentionMs, keys.cancelChannel]
      for (const entry of entries) args.push(entry.id, entry.event, entry.data)
      const [written, last] = await redis.tgiPoolWrite(keys.events(jobId), keys.deadlines, ...args)
      return { written: written === 1, last: last as Cursor }
    },
    async read(jobId) {
      const [time, entries] = await execPipeline(redis.pipeline().time().xrange(keys.events(jobId), '-', '+'))
      return { entries: (entries as RawEntry[]).map(parseRawEntry), nowMs: timeReplyToMs(time) }
    },
    async lastEntries(jobIds) {
      const pipeline = redis.pipeline()
      for (const jobId of jobIds) pipeline.xrevrange(keys.events(jobId), '+', '-', 'COUNT', 1)
      const replies = await execPipeline(pipeline)
      return replies.map((reply) => {
        const [top] = reply as RawEntry[]
        return top === undefined ? undefined : parseRawEntry(top)
      })
    },
  }
}

/** Runs a pipeline; throws the first error in it. */
export async function execPipeline(pipeline: ChainableCommander): Promise<unknown[]> {
  const replies = (await pipeline.exec()) ?? []
  return replies.map(([error, reply]) => {
    if (error !== null) throw error
    return reply
  })
}

/** The last id of a snapshot; {@link START} when it is empty. */
export function lastId(entries: readonly LogEntry[]): Cursor {
  return entries.at(-1)?.id ?? START
}

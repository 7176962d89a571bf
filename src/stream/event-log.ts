import { readFileSync } from 'node:fs'
import type { Result } from 'ioredis'
import type { Priority } from '../contract/job.ts'
import type { PoolKeys } from '../contract/keys.ts'
import { SEAL_ID, START, compareIds, entryId, idParts } from '../contract/stream-id.ts'
import type { Cursor } from '../contract/stream-id.ts'
import { AT_LIMIT } from '../redis/at-limit.ts'
import { redisTimeUs } from '../redis/connect.ts'
import type { RedisConnection } from '../redis/connect.ts'
import { parseRawEntry } from './entry.ts'
import { changeOf, packChange } from './change.ts'
import type { LogEntry } from './entry.ts'

const WRITE_LUA = readFileSync(new URL('write.lua', import.meta.url), 'utf8')

declare module 'ioredis' {
  interface RedisCommander<Context> {
    tgiPoolWrite(keyCount: number, ...args: (string | number)[]): Result<1 | string, Context>
  }
}

/** More entries than come before the first token, unless many replicas have handed the job back. */
const HEAD_COUNT = 32

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
  /** How long the stream lives after its seal, or after its deadline (ms), unless its first entry says (`retention_ms`). */
  readonly retentionMs: number
  /** The job's priority, for the pool's counters. @defaultValue unknown */
  readonly priority?: Priority | undefined
}

/** What became of a write. Refused means that nothing changed; `last` says why. */
export interface WriteResult {
  readonly written: boolean
  /** The last id in the stream now; {@link START} when there is no stream. */
  readonly last: Cursor
}

/** A job's stream as it stands. */
interface StreamSnapshot {
  readonly entries: readonly LogEntry[]
  /** Redis's clock when it was read (ms since 1970). */
  readonly nowMs: number
  /** The same in µs, for epochs. */
  readonly nowUs: number
}

/** The error for a stream that begins in the middle of a job. */
const UNCOUNTED = { state: 'started', priority: '', adds: [] } as const

/** The event streams of one pool, over one connection. Each method is one round trip; errors of Redis pass through. */
export interface EventLog {
  /**
   * Redis runs it also when it is out of memory, except for `queued` alone. That one is sent as a whole script, so that nothing sent
   * later on the connection comes before it: a digest that the server does not know would be sent again.
   */
  write(request: WriteRequest): Promise<WriteResult>
  /** Every entry of a stream, with Redis's clock. */
  read(jobId: string): Promise<StreamSnapshot>
  /**
   * The entries of a stream that show where its job stands, however many tokens it has: the first ones, the last `started` and the last
   * two. A second round trip may be needed for the `started`.
   */
  readOutline(jobId: string): Promise<StreamSnapshot>
  /** The last entry of each stream; undefined where there is none. */
  lastEntries(jobIds: readonly string[]): Promise<(LogEntry | undefined)[]>
}

/** Opens the event log of a pool on a connection. */
export function createEventLog(redis: RedisConnection, keys: PoolKeys): EventLog {
  redis.defineCommand('tgiPoolWrite', { lua: AT_LIMIT + WRITE_LUA })
  const log: EventLog = {
    async write({ jobId, expect, entries, deadlineAt, retentionMs, priority }) {
      const newest = entries.at(-1)?.id
      if (newest === undefined) throw new Error('a write without entries')
      const names = [keys.events(jobId)]
      const args = [expect, ...packEntries(entries)]
      const change = changeOf(entries, priority ?? '') ?? (expect === START ? UNCOUNTED : undefined)
      if (change !== undefined) {
        names.push(keys.deadlines, keys.counters, keys.batchIndex, keys.expiry, ...keys.indexes)
        args.push(jobId, deadlineAt, retentionMs, keys.cancelChannel, ...packChange(change))
      }
      const count = names.length
      // A worker writes `queued` again only together with what follows it.
      const isNew = entries.length === 1 && entries[0]?.event === 'queued'
      const reply = isNew
        ? await redis.eval(WRITE_LUA, count, ...names, ...args)
        : await redis.tgiPoolWrite(count, ...names, ...args)
      return reply === 1 ? { written: true, last: newest } : { written: false, last: reply as Cursor }
    },
    async readOutline(jobId) {
      const stream = keys.events(jobId)
      const [nowUs, rawHead, rawTail] = await Promise.all([
        redisTimeUs(redis, stream),
        redis.xrange(stream, '-', '+', 'COUNT', HEAD_COUNT),
        redis.xrevrange(stream, '+', '-', 'COUNT', 2),
      ])
      const head = rawHead.map(parseRawEntry)
      const clock = { nowMs: Math.floor(nowUs / 1000), nowUs }
      if (head.length < HEAD_COUNT) return { entries: head, ...clock }
      const tail = rawTail.map(parseRawEntry)
      const latest = tail.find(({ id }) => id !== SEAL_ID)
      const startedId = latest && entryId(idParts(latest.id).epoch, 1)
      const shown = [...head, ...tail]
      const started =
        startedId &&
        (shown.find(({ id }) => id === startedId) ??
          (await redis.xrange(stream, startedId, startedId)).map(parseRawEntry)[0])
      // Not a stream that workers write; or it was erased meanwhile.
      if (started?.event !== 'started') return log.read(jobId)
      const entries = new Map([...shown, started].map((entry) => [entry.id, entry]))
      return { entries: [...entries.values()].toSorted((a, b) => compareIds(a.id, b.id)), ...clock }
    },
    // Not pipeline(): ioredis 6 copies some five hundred methods into each. Sent in one turn, it is one round trip too.
    async read(jobId) {
      const stream = keys.events(jobId)
      const [nowUs, entries] = await Promise.all([redisTimeUs(redis, stream), redis.xrange(stream, '-', '+')])
      return { entries: entries.map(parseRawEntry), nowMs: Math.floor(nowUs / 1000), nowUs }
    },
    async lastEntries(jobIds) {
      const tops = await Promise.all(
        jobIds.map((jobId) => redis.xrevrange(keys.events(jobId), '+', '-', 'COUNT', 1)),
      )
      return tops.map(([top]) => (top === undefined ? undefined : parseRawEntry(top)))
    },
  }
  return log
}

/**
 * Entries as the script takes them: tokens that follow each other become one argument, which is half of what a token
 * costs here (bench/throughput.ts).
 */
function packEntries(entries: readonly LogEntry[]): (string | number)[] {
  const args: (string | number)[] = []
  for (let at = 0; at < entries.length;) {
    const count = runLength(entries, at)
    const run = entries.slice(at, at + count)
    const [first] = run
    if (first === undefined) break
    args.push(first.id, count, first.event, run.map(({ data }) => data).join('\n'))
    at += count
  }
  return args
}

/** How many entries from `at` on are tokens with ids that count up by one; 1 for anything else. */
function runLength(entries: readonly LogEntry[], at: number): number {
  const first = entries[at]
  let end = at + 1
  if (first?.event !== 'token') return 1
  while (entries[end]?.event === 'token') end += 1
  // Between tokens of two attempts there is a `started`, so checking the last id is enough.
  const { epoch, n } = idParts(first.id)
  return entries[end - 1]?.id === entryId(epoch, n + end - at - 1) ? end - at : 1
}

/** The last id of a snapshot; {@link START} when it is empty. */
export function lastId(entries: readonly LogEntry[]): Cursor {
  return entries.at(-1)?.id ?? START
}

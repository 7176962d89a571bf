import type { Redis } from 'ioredis'
import type { JobEvent } from '../../../src/contract/event.ts'
import type { Priority } from '../../../src/contract/job.ts'
import type { PoolKeys } from '../../../src/contract/keys.ts'
import { START, parseCursor } from '../../../src/contract/stream-id.ts'
import type { Cursor } from '../../../src/contract/stream-id.ts'
import { parseEntry } from '../../../src/stream/entry.ts'
import type { EventLog } from '../../../src/stream/event-log.ts'
import { checkCounts } from './check-counts.ts'
import { checkLog } from './check-log.ts'
import type { Landings } from './landings.ts'
import { RETENTION_MS } from './parties.ts'
import type { Cancelled } from './parties.ts'
import { checkReader } from './readers.ts'
import type { ReaderRun } from './readers.ts'

/** A job that has come to rest after its deadline, and what is known of its life. */
export interface FinishedJob {
  readonly redis: Redis
  readonly keys: PoolKeys
  readonly jobId: string
  readonly priority: Priority
  readonly log: EventLog
  readonly landings: Landings
  readonly readers: readonly ReaderRun[]
  readonly cancelled: Cancelled | undefined
  /** Starts a reader that resumes after a cursor, now that all is over. */
  readonly comeBack: (cursor: Cursor) => ReaderRun
}

/** How long a reader may take to see the end (ms): it tries a broken line again after 100. */
const READER_MS = 10_000

/** Holds the whole job against what was promised; throws a sentence when it does not fit. */
export async function checkJob(job: FinishedJob): Promise<void> {
  const { redis, keys, jobId, landings } = job
  checkCancel(job)
  const events = (await job.log.read(jobId)).entries.map(parseEntry)
  if (events.length === 0) {
    if (landings.all.length > 0 && landings.era === 0) throw new Error('the stream is gone')
    return
  }
  fail(checkLog(events), events)
  const ttl = await redis.pttl(keys.events(jobId))
  if (ttl <= 0 || ttl > RETENTION_MS) throw new Error(`a sealed stream lives for ${ttl} ms`)
  if ((await redis.zscore(keys.deadlines, jobId)) !== null) throw new Error('a sealed job has a deadline')
  fail(await checkCounts(job, events), events)
  await checkReaders(job, events)
  await checkCursors(job, events)
}

function checkCancel({ cancelled, landings }: FinishedJob): void {
  if (cancelled === undefined) return
  const later = landings.all.slice(cancelled.landed).find((landing) => landing.era === cancelled.era)
  if (later === undefined) return
  throw new Error(`${later.who} wrote ${later.entries[0]?.id} after cancel() had returned`)
}

/** Those who followed the job while it lived, unless the past they saw was taken away after they had ended. */
async function checkReaders({ readers, landings }: FinishedJob, events: readonly JobEvent[]): Promise<void> {
  for (const reader of readers) {
    await within(reader.done, `a reader after ${reader.from} does not end`)
    if (reader.era < landings.era) continue
    if (reader.ended !== 'seal' && reader.excused) continue
    if (reader.ended !== 'seal') throw new Error(`a reader ended with ${reader.ended}`)
    fail(checkReader(reader, events), events)
  }
}

/** Whoever comes back later, with any id that ever was, sees what follows it or is told to start again. */
async function checkCursors({ landings, comeBack }: FinishedJob, events: readonly JobEvent[]): Promise<void> {
  const there = new Set<string>(events.map((event) => event.id))
  for (const id of [START, ...landings.ids]) {
    const cursor = parseCursor(id) ?? START
    const reader = comeBack(cursor)
    await within(reader.done, `a reader after ${id} does not end`)
    if (reader.ended !== 'seal') throw new Error(`a reader after ${id} ended with ${reader.ended}`)
    const restarts = cursor === START || there.has(id) ? 0 : 1
    if (reader.restarts !== restarts) throw new Error(`a reader after ${id} had ${reader.restarts} restarts`)
    fail(checkReader(reader, events), events)
  }
}

function fail(sentence: string | undefined, events: readonly JobEvent[]): void {
  if (sentence === undefined) return
  throw new Error(`${sentence}\nthe log: ${events.map((event) => `${event.id} ${event.event}`).join(', ')}`)
}

/** Waits for a reader; throws the sentence when it takes too long. */
export async function within(done: Promise<void>, sentence: string): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(sentence)), READER_MS)
  })
  await Promise.race([done, late]).finally(() => clearTimeout(timer))
}

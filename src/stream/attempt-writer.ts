/**
 * Publishes the events of one attempt, and detects when nothing more may be published.
 *
 * One write is in flight at any time; what arrives meanwhile goes into the next one. That needs no timer and
 * carries four to five times the tokens of awaiting each XADD (bench/throughput.ts). Every write expects the last
 * id that was acknowledged. When a write is refused, the stream's last id says what happened:
 *
 * | the last id is | then |
 * |---|---|
 * | the seal | the job is over, whichever process ended it → `sealed` |
 * | one of ours above the acknowledged one, while an outcome is unknown | that write took effect, if the entries are ours (below) |
 * | the same, while none is | an attempt with our epoch was faster → `fenced` |
 * | an older one that we know, or none | Redis lost a tail (failover): with BullMQ's lock still ours, write all above it again under the same ids; without it → `lost` |
 * | any other | a newer attempt has begun → `fenced` |
 * | the expected one | the script cannot say so: an error |
 *
 * An outcome is unknown from an error (a lost answer, a timeout, OOM, READONLY) until a write is acknowledged. After an
 * error the writer pauses and sends the same entries again.
 *
 * **Two attempts with one epoch** write under the same ids. Epochs are made to differ (`nextEpoch`), but nothing enforces
 * it, so an id alone never proves that an entry is ours. Why at most one of the two goes on:
 *
 * 1. Both begin by writing `started` behind the same entry. The script lets one in; the other is refused by an id of
 *    its own epoch. Its outcome is known, so it is fenced, and has not begun.
 * 2. If the answer was lost, the refused one cannot know which of the two took effect. It reads the stream back and goes on only
 *    if every entry is, byte for byte, one that it wrote or read itself. `started` names the replica, and two workers never
 *    share one, so the other's `started` differs. If even that is equal, readers have seen the same; both go on until one
 *    appends, and then 1. fences the other. So a stream never holds an entry of one attempt behind a differing entry of the
 *    other.
 * 3. A lost tail is compared in the same way before anything is written again.
 *
 * Not covered: two attempts that read the same microsecond, with a failover between their first writes that loses only the
 * first one's write.
 */
import type { EventName } from '../contract/event.ts'
import type { Priority } from '../contract/job.ts'
import { SEAL_ID, START, entryId, idParts } from '../contract/stream-id.ts'
import type { Cursor } from '../contract/stream-id.ts'
import type { LogEntry } from './entry.ts'
import type { EventLog } from './event-log.ts'

/** Why a writer has nothing left to do. `aborted` is the caller's own doing. */
export type WriterOutcome = 'sealed' | 'fenced' | 'lost' | 'aborted'

/** What a writer needs to know. */
export interface AttemptWriterOptions {
  readonly log: Pick<EventLog, 'write' | 'read'>
  readonly jobId: string
  readonly epoch: number
  /** Every entry of the stream as it was read. */
  readonly history: readonly LogEntry[]
  readonly deadlineAt: number
  readonly retentionMs: number
  /** The job's priority, for the pool's counters. */
  readonly priority?: Priority | undefined
  /** Asks BullMQ whether the job's lock is still ours; may throw when Redis does not answer. */
  readonly confirmLock: () => Promise<boolean>
  /** The most entries that may be unacknowledged before {@link onPressure} is called. @defaultValue 256 */
  readonly pendingBound?: number | undefined
  /** `true`: stop the source until `false` comes, at half the bound. Nothing is ever dropped. */
  readonly onPressure?: ((full: boolean) => void) | undefined
  /** Called with each fault of Redis that the writer waits out. */
  readonly onRetry?: ((error: unknown) => void) | undefined
}

/** The writing end of one attempt. */
export interface AttemptWriter {
  /**
   * Adds an entry; `data` is JSON. Returns its id at once, it is written in the background. An attempt's first entry is its
   * `started`.
   */
  append(event: EventName, data: string): Cursor
  /** Adds the terminal event, in the same write as what is pending. Nothing can be added after it. */
  seal(event: 'end' | 'error', data: string): void
  /** Resolves when nothing is pending, or nothing will be written any more. */
  flushed(): Promise<void>
  /** No more writes are begun. One that is under way may still land. */
  abort(): void
  /** Resolves once, never rejects. */
  readonly outcome: Promise<WriterOutcome>
  /** Something of this attempt's is in the stream: every older attempt is fenced. */
  readonly begun: boolean
  /** Entries not acknowledged yet. */
  readonly pending: number
}

const DEFAULT_PENDING_BOUND = 256
const RETRY_MIN_MS = 20
const RETRY_MAX_MS = 500

/** Starts a writer for one attempt. */
export function createAttemptWriter(options: AttemptWriterOptions): AttemptWriter {
  const { log, jobId, epoch } = options
  const bound = options.pendingBound ?? DEFAULT_PENDING_BOUND
  const entries: LogEntry[] = [...options.history]
  const { promise: outcome, resolve } = Promise.withResolvers<WriterOutcome>()
  /** How many of `entries` Redis has, as far as we know. */
  let acked = entries.length
  const before = idParts(entries.at(-1)?.id ?? START)
  let n = before.epoch === epoch ? before.n : 0
  /** Whether a write of ours has an unknown outcome. */
  let unsure = false
  let sealing = false
  let writing: Promise<void> | undefined
  let full = false
  /** `wake` ends the wait before a write is tried again. */
  const end: { stopped: boolean; wake?: () => void } = { stopped: false }

  function finish(result: WriterOutcome): void {
    end.stopped = true
    end.wake?.()
    resolve(result)
  }

  function push(entry: LogEntry): void {
    if (sealing) throw new Error(`job ${jobId}: nothing can follow the terminal event`)
    entries.push(entry)
    setPressure()
    if (!end.stopped) writing ??= writeAll()
  }

  function setPressure(): void {
    const pending = entries.length - acked
    const next = full ? pending > bound / 2 : pending >= bound
    if (next === full) return
    full = next
    options.onPressure?.(full)
  }

  async function writeAll(): Promise<void> {
    for (let failures = 0; acked < entries.length && !end.stopped;) {
      try {
        await writeOnce()
        failures = 0
      } catch (error) {
        if (end.stopped) break
        options.onRetry?.(error)
        failures += 1
        await pause(Math.min(RETRY_MIN_MS * 2 ** failures, RETRY_MAX_MS))
      }
    }
    writing = undefined
    if (sealing && acked === entries.length) finish('sealed')
  }

  function pause(ms: number): Promise<void> {
    return new Promise((done) => {
      const timer = setTimeout(done, ms)
      end.wake = () => {
        clearTimeout(timer)
        done()
      }
    })
  }

  async function writeOnce(): Promise<void> {
    const upTo = entries.length
    const expect = entries[acked - 1]?.id ?? START
    const request = {
      jobId,
      expect,
      entries: entries.slice(acked),
      deadlineAt: options.deadlineAt,
      retentionMs: options.retentionMs,
      priority: options.priority,
    }
    const { written, last } = await log.write(request).catch((error: unknown) => {
      unsure = true
      throw error
    })
    if (end.stopped) return
    if (written) {
      acked = upTo
      unsure = false
    } else if (last === expect) {
      throw new Error(`job ${jobId}: a write that expects ${expect} was refused although that is the last id`)
    } else await refused(last)
    setPressure()
  }

  async function refused(last: Cursor): Promise<void> {
    if (last === SEAL_ID) return finish('sealed')
    const known = last === START ? 0 : entries.findLastIndex((entry) => entry.id === last) + 1
    if (known === 0 && last !== START) return finish('fenced')
    if (known > acked && !unsure) return finish('fenced')
    return readBack()
  }

  /** Continues after the stream's last entry, if all entries are ours or older than us. */
  async function readBack(): Promise<void> {
    const { entries: there } = await log.read(jobId)
    if (there.at(-1)?.id === SEAL_ID) return finish('sealed')
    if (!there.every((entry, index) => isSame(entry, entries[index]))) return finish('fenced')
    if (there.length < acked) {
      if (!(await options.confirmLock())) return finish('lost')
      // An earlier write may still be on its way to the Redis that lost it.
      unsure = true
    }
    acked = there.length
  }

  return {
    append(event, data) {
      n += 1
      const id = entryId(epoch, n)
      push({ id, event, data })
      return id
    },
    seal(event, data) {
      push({ id: SEAL_ID, event, data })
      sealing = true
    },
    flushed: () => writing ?? Promise.resolve(),
    abort: () => finish('aborted'),
    outcome,
    get begun() {
      return acked > options.history.length
    },
    get pending() {
      return entries.length - acked
    },
  }
}

function isSame(entry: LogEntry, other: LogEntry | undefined): boolean {
  return entry.id === other?.id && entry.event === other.event && entry.data === other.data
}

/**
 * Runs one schedule against a real Redis: parties whose commands wait at gates, and a driver that lets them through
 * one at a time in the schedule's order. Readers alone are not gated: they block in Redis and race for real.
 */
import { setImmediate as turn } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { START, parseCursor } from '../../../src/contract/stream-id.ts'
import type { Cursor } from '../../../src/contract/stream-id.ts'
import type { PoolKeys } from '../../../src/contract/keys.ts'
import { parseEntry } from '../../../src/stream/entry.ts'
import type { EventLog } from '../../../src/stream/event-log.ts'
import { gatedLog, liveAttempt } from './attempts.ts'
import type { Attempt } from './attempts.ts'
import { checkLog } from './check-log.ts'
import { createGates, isInjected } from './gates.ts'
import type { Gates } from './gates.ts'
import { Landings } from './landings.ts'
import type { Modules } from './modules.ts'
import { createQueueModel } from './queue-model.ts'
import type { QueueModel } from './queue-model.ts'
import { checkReader, startReader } from './readers.ts'
import type { ReaderRun } from './readers.ts'
import type { Action, Schedule, Step } from './schedule.ts'
import { rollBack, takeSnapshot } from './time-travel.ts'
import type { Snapshot } from './time-travel.ts'

/** Where schedules run, one after the other. */
export interface Lane {
  readonly modules: Modules
  readonly redis: Redis
  /** Connections for readers that follow a job, and one more for those at the end. */
  readonly readers: readonly Redis[]
  readonly lastReader: Redis
  readonly keys: PoolKeys
}

const RETENTION_MS = 3_600_000
/** How long a schedule may take to come to rest (ms): the writer's longest pause is 500. */
const SETTLE_MS = 10_000
/** As often as a caller tries again what a broken line has broken. */
const TRIES = 20

/** Runs one schedule; throws a sentence when a promise of the event log is broken. */
export async function runSchedule(lane: Lane, jobId: string, schedule: Schedule): Promise<void> {
  const run = new ScheduleRun(lane, jobId)
  try {
    for (const step of schedule.steps) await run.step(step)
    await run.finish(schedule.finale)
    await run.check()
  } finally {
    await run.close()
  }
}

class ScheduleRun {
  private readonly lane: Lane
  private readonly jobId: string
  private readonly log: EventLog
  private readonly gates: Gates = createGates()
  private readonly landings = new Landings()
  private readonly queues: QueueModel = createQueueModel()
  private readonly attempts: Attempt[] = []
  private readonly readers: ReaderRun[] = []
  private readonly snapshots: Snapshot[] = []
  private readonly parties = new Set<Promise<void>>()
  private violation: Error | undefined
  private over = false
  /** The era in which a cancel returned, and how much had landed by then. */
  private cancelled: { readonly era: number; readonly landed: number } | undefined

  constructor(lane: Lane, jobId: string) {
    this.lane = lane
    this.jobId = jobId
    this.log = lane.modules.createEventLog(lane.redis, lane.keys)
  }

  async step({ action, advance }: Step): Promise<void> {
    await this.act(action)
    for (const { pick, fault } of advance) {
      await turn()
      const { waiting } = this.gates
      const [gate] = waiting.length === 0 ? [] : waiting.splice(pick % waiting.length, 1)
      await gate?.run(fault)
    }
    await turn()
    if (this.violation !== undefined) throw this.violation
  }

  private async act(action: Action): Promise<void> {
    const { redis, keys } = this.lane
    const { jobId, queues } = this
    switch (action.do) {
      case 'enqueue':
        return this.party(() => this.enqueue())
      case 'cancel':
        return this.party(() => this.cancel())
      case 'sweep':
        return this.party(() => this.sweep())
      case 'deadline':
        return void (await redis.zadd(keys.deadlines, 'XX', 1, jobId))
      case 'expire':
        return await this.loseThePast(() => takeSnapshotOfNothing(queues))
      case 'snapshot':
        return void this.snapshots.push(await takeSnapshot(redis, keys, jobId, queues))
      case 'roll_back':
        return await this.loseThePast(() => this.snapshotAt(action.to))
      case 'ghost':
        return await this.gates.late.shift()?.()
      case 'pick_up':
        return this.pickUp(action.queue, action.goesOn)
      case 'lose_lock':
        return queues.loseLock(action.queue)
      case 'tokens':
      case 'end':
      case 'abort':
      case 'hand_back':
        return this.write(action)
      case 'read':
        return await this.read(action.from)
      case 'cut_reader':
        return this.readers[action.reader % Math.max(1, this.readers.length)]?.redis.disconnect(true)
      case 'nothing':
    }
  }

  private party(live: () => Promise<void>): void {
    const party = live()
      .catch((error: unknown) => void (this.violation ??= error instanceof Error ? error : new Error(String(error))))
      .finally(() => this.parties.delete(party))
    this.parties.add(party)
  }

  private async enqueue(): Promise<void> {
    const { redis, keys, modules } = this.lane
    const log = gatedLog(this.world(), 'producer')
    const ports = { redis, keys, log, queue: this.queues.port }
    await this.retry(() => modules.enqueueJob(ports, { inputs: 'x' }, this.jobId)).catch((error: unknown) => {
      // A worker may have had the job from another producer before.
      if (kindOf(error) !== 'ID_CONFLICT') throw error
    })
  }

  private async cancel(): Promise<void> {
    const { modules, keys, redis } = this.lane
    const existed = (await redis.exists(keys.events(this.jobId))) === 1
    const { era } = this.landings
    const log = gatedLog(this.world(), 'canceller')
    const request = { log, queue: this.queues.port, pool: keys.pool, jobId: this.jobId, retentionMs: RETENTION_MS }
    try {
      await this.retry(() => modules.cancelJob(request))
      this.cancelled = { era: this.landings.era, landed: this.landings.all.length }
    } catch (error) {
      if (kindOf(error) !== 'UNKNOWN_JOB' || (existed && era === this.landings.era)) throw error
    }
  }

  private async sweep(): Promise<void> {
    const { modules, keys, redis } = this.lane
    const request = { redis, log: gatedLog(this.world(), 'sweeper'), queue: this.queues.port, keys, retentionMs: RETENTION_MS }
    await this.retry(() => modules.sweepDeadlines(request))
  }

  private async retry<T>(call: () => Promise<T>): Promise<T> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await call()
      } catch (error) {
        if (!isInjected(error) || tries >= TRIES) throw error
      }
    }
  }

  private pickUp(queue: number, goesOn: boolean): void {
    const tag = `a${this.attempts.length}`
    if (!this.queues.take(queue, tag)) return
    const attempt: Attempt = { tag, queue, writer: undefined, next: 0, sealing: false, done: false }
    this.attempts.push(attempt)
    this.party(() => liveAttempt({ ...this.world(), pool: this.lane.keys.pool }, attempt, goesOn))
  }

  private world() {
    const { log, gates, landings, queues, jobId } = this
    return { modules: this.lane.modules, log, gates, landings, queues, jobId }
  }

  private writing(): Attempt[] {
    return this.attempts.filter(({ writer, sealing, done }) => writer !== undefined && !sealing && !done)
  }

  private write(action: Extract<Action, { do: 'tokens' | 'end' | 'abort' | 'hand_back' }>): void {
    const writing = this.writing()
    const attempt = writing[action.attempt % Math.max(1, writing.length)]
    if (attempt?.writer === undefined) return
    if (action.do === 'tokens') for (let count = 0; count < action.count; count += 1) appendToken(attempt)
    else if (action.do === 'end') appendEnd(attempt)
    else attempt.writer.abort()
  }

  private async read(from: number): Promise<void> {
    const redis = this.lane.readers[this.readers.length]
    if (redis === undefined) return
    const exists = await this.lane.redis.exists(this.lane.keys.events(this.jobId))
    const seen = [START, ...this.landings.ids]
    const cursor = parseCursor(seen[(from * 7) % seen.length] ?? START) ?? START
    const reader = startReader(this.readerWorld(), redis, cursor)
    reader.excused = exists === 0
    this.readers.push(reader)
  }

  private readerWorld() {
    const { modules, keys } = this.lane
    return { modules, keys, jobId: this.jobId, held: () => !this.over && this.queues.held, era: () => this.landings.era }
  }

  private snapshotAt(index: number): Snapshot | undefined {
    if (this.snapshots.length === 0) return undefined
    // What came after it never was: nobody can fail over to it any more.
    this.snapshots.length = (index % this.snapshots.length) + 1
    return this.snapshots.at(-1)
  }

  private async loseThePast(pick: () => Snapshot | undefined): Promise<void> {
    const snapshot = pick()
    if (snapshot === undefined) return
    const { redis, keys } = this.lane
    this.landings.era += 1
    await rollBack(redis, keys, this.jobId, snapshot, this.readers.map((reader) => reader.redis))
    this.queues.restore(snapshot.queues)
    if (snapshot.stream === undefined) for (const reader of this.readers) reader.excused = true
  }

  /** No faults any more: everybody comes to rest, who writes ends, and the deadline passes. */
  async finish(finale: Schedule['finale']): Promise<void> {
    await this.settle()
    for (const attempt of this.writing()) {
      if (finale === 'end') appendEnd(attempt)
      else attempt.writer?.abort()
    }
    await this.settle()
    for (const attempt of this.attempts) attempt.writer?.abort()
    const { redis, keys } = this.lane
    await redis.zadd(keys.deadlines, 'XX', 1, this.jobId)
    this.party(() => this.sweep())
    await this.settle()
  }

  private async settle(): Promise<void> {
    const { waiting, late, arrival } = this.gates
    const until = performance.now() + SETTLE_MS
    for (;;) {
      await turn()
      if (this.violation !== undefined) throw this.violation
      if (performance.now() > until) throw new Error('the schedule does not come to rest')
      const command = waiting.shift()
      if (command !== undefined) await command.run('none')
      else if (late.length > 0) await late.shift()?.()
      else if (this.resting()) return
      else await arrival(5)
    }
  }

  private resting(): boolean {
    const idle = this.attempts.filter(({ writer, done }) => !done && writer?.pending === 0)
    return this.parties.size === idle.length
  }

  async check(): Promise<void> {
    const { redis, keys } = this.lane
    const { entries } = await this.log.read(this.jobId)
    const log = entries.map(parseEntry)
    this.checkCancel()
    if (log.length === 0) {
      if (this.landings.all.length > 0 && this.landings.era === 0) throw new Error('the stream is gone')
      return
    }
    const ttl = await redis.pttl(keys.events(this.jobId))
    const deadline = await redis.zscore(keys.deadlines, this.jobId)
    fail(checkLog(log), log)
    if (ttl <= 0 || ttl > RETENTION_MS) throw new Error(`a sealed stream lives for ${ttl} ms`)
    if (deadline !== null) throw new Error('a sealed job still has a deadline')
    for (const reader of this.readers) {
      await within(reader.done, `a reader after ${reader.from} does not end`)
      if (reader.era < this.landings.era) continue
      if (reader.ended !== 'seal' && reader.excused) continue
      if (reader.ended !== 'seal') throw new Error(`a reader ended with ${reader.ended}`)
      fail(checkReader(reader, log), log)
    }
    await this.checkCursors(log)
  }

  private checkCancel(): void {
    if (this.cancelled === undefined) return
    const { era, landed } = this.cancelled
    const after = this.landings.all.slice(landed).find((landing) => landing.era === era)
    if (after !== undefined) throw new Error(`${after.who} wrote ${after.entries[0]?.id} after cancel() had returned`)
  }

  /** Whoever comes back later, with any id that ever was, sees what follows it or is told to start again. */
  private async checkCursors(log: Parameters<typeof checkLog>[0]): Promise<void> {
    const there = new Set<string>(log.map((event) => event.id))
    for (const id of [START, ...this.landings.ids]) {
      const cursor: Cursor = parseCursor(id) ?? START
      const run = startReader(this.readerWorld(), this.lane.lastReader, cursor)
      await within(run.done, `a reader after ${id} does not end`)
      const restarts = cursor === START || there.has(id) ? 0 : 1
      if (run.ended !== 'seal') throw new Error(`a reader after ${id} ended with ${run.ended}`)
      if (run.restarts !== restarts) throw new Error(`a reader after ${id} was sent back ${run.restarts} times`)
      fail(checkReader(run, log), log)
    }
  }

  async close(): Promise<void> {
    for (const attempt of this.attempts) attempt.writer?.abort()
    const { redis, keys } = this.lane
    await redis.del(keys.events(this.jobId))
    await redis.zrem(keys.deadlines, this.jobId)
    // Readers that still wait for what will not come would find out after their block; now they do at once.
    this.over = true
    for (const reader of this.readers) if (reader.ended === undefined) reader.redis.disconnect(true)
    await Promise.all(this.readers.map((reader) => within(reader.done, 'a reader of nothing does not end')))
  }
}

function takeSnapshotOfNothing(queues: QueueModel): Snapshot {
  return { stream: undefined, deadline: undefined, queues: queues.save() }
}

function appendToken(attempt: Attempt): void {
  const i = attempt.next
  attempt.next += 1
  attempt.writer?.append('token', JSON.stringify({ t: `${attempt.tag}#${i}`, i, id: i, logprob: null }))
}

function appendEnd(attempt: Attempt): void {
  attempt.sealing = true
  const end = {
    ...{ finish_reason: 'length', tokens_out: attempt.next, queue_time_ms: 0, first_token_ms: 0, decode_time_ms: 0 },
    ...{ seed: 1, text: '', attempts: 1, exact: true },
  }
  attempt.writer?.seal('end', JSON.stringify(end))
}

function kindOf(error: unknown): unknown {
  return error instanceof Error && 'kind' in error ? error.kind : undefined
}

function fail(sentence: string | undefined, log: Parameters<typeof checkLog>[0]): void {
  if (sentence === undefined) return
  throw new Error(`${sentence}\nthe log: ${log.map((event) => `${event.id} ${event.event}`).join(', ')}`)
}

async function within(promise: Promise<void>, sentence: string): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(sentence)), SETTLE_MS)
  })
  await Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

/**
 * Runs one schedule against a real Redis: parties whose commands wait at gates, and a driver that lets them through
 * one at a time in the schedule's order. Readers alone are not gated: they block in Redis and race for real.
 *
 * Longer than most files: every action of a schedule touches the same state, and is a few lines of it.
 */
import { setImmediate as turn } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { START, parseCursor } from '../../../src/contract/stream-id.ts'
import type { Cursor } from '../../../src/contract/stream-id.ts'
import type { Priority } from '../../../src/contract/job.ts'
import type { PoolKeys } from '../../../src/contract/keys.ts'
import { redisTimeMs } from '../../../src/redis/connect.ts'
import type { EventLog } from '../../../src/stream/event-log.ts'
import { endData } from '../entries.ts'
import { Clock } from './clock.ts'
import { liveAttempt } from './attempts.ts'
import type { Attempt } from './attempts.ts'
import { checkJob, within } from './check-job.ts'
import { createGates } from './gates.ts'
import type { Gates } from './gates.ts'
import { Landings } from './landings.ts'
import type { Modules } from './modules.ts'
import { cancel, enqueue, sweep } from './parties.ts'
import type { Cancelled } from './parties.ts'
import { createQueueModel } from './queue-model.ts'
import type { QueueModel } from './queue-model.ts'
import { startReader } from './readers.ts'
import type { ReaderRun } from './readers.ts'
import type { Line } from '../../support/line.ts'
import type { Action, Schedule, Step } from './schedule.ts'
import { rollBack, takeSnapshot } from './time-travel.ts'
import type { Snapshot } from './time-travel.ts'

/** Where schedules run, one after the other. */
export interface Lane {
  readonly modules: Modules
  readonly redis: Redis
  /** Lines for readers that follow a job, and one more for those at the end. */
  readonly readers: readonly Line[]
  readonly lastReader: Line
  readonly keys: PoolKeys
}

/** How long a schedule may take to come to rest (ms): the writer's longest pause is 500. */
const SETTLE_MS = 30_000

/** Runs one schedule; throws a sentence when a promise of the event log is broken. */
export async function runSchedule(lane: Lane, jobId: string, schedule: Schedule): Promise<void> {
  const run = new ScheduleRun(lane, jobId, schedule)
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
  private readonly priority: Priority
  private readonly log: EventLog
  private readonly gates: Gates = createGates()
  private readonly landings = new Landings()
  private readonly clock: Clock
  private readonly queues: QueueModel = createQueueModel()
  private readonly attempts: Attempt[] = []
  private readonly readers: ReaderRun[] = []
  private readonly snapshots: Snapshot[] = []
  private readonly parties = new Set<Promise<void>>()
  private violation: Error | undefined
  private over = false
  private cancelled: Cancelled | undefined

  constructor(lane: Lane, jobId: string, { clock, priority }: Schedule) {
    this.lane = lane
    this.clock = new Clock(clock)
    this.priority = priority
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
        return this.party(() => enqueue(this.partyWorld()))
      case 'cancel':
        return this.party(async () => {
          this.cancelled = (await cancel(this.partyWorld())) ?? this.cancelled
        })
      case 'sweep':
        return this.party(() => sweep(this.partyWorld()))
      case 'expire':
        return this.loseThePast(() => takeSnapshotOfNothing(queues))
      case 'snapshot':
        return void this.snapshots.push(await takeSnapshot(redis, keys, jobId, queues))
      case 'roll_back':
        return this.loseThePast(() => this.snapshotAt(action.to))
      case 'ghost':
        return this.gates.late.shift()?.()
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
        return this.read(action.from)
      case 'cut_reader':
        return this.readers[action.reader % Math.max(1, this.readers.length)]?.line.cut()
      case 'nothing':
    }
  }

  private party(live: () => Promise<void>): void {
    const party = live()
      .catch(
        (error: unknown) =>
          void (this.violation ??= error instanceof Error ? error : new Error(String(error))),
      )
      .finally(() => this.parties.delete(party))
    this.parties.add(party)
  }

  private pickUp(queue: number, goesOn: boolean): void {
    const tag = `a${this.attempts.length}`
    if (!this.queues.take(queue, tag)) return
    const start = { writer: undefined, epoch: undefined, next: 0, sealing: false, done: false }
    const attempt: Attempt = { tag, queue, ...start }
    this.attempts.push(attempt)
    this.party(() => liveAttempt({ ...this.world(), pool: this.lane.keys.pool }, attempt, goesOn))
  }

  private world() {
    const { log, gates, landings, clock, queues, jobId, priority } = this
    return { modules: this.lane.modules, log, gates, landings, clock, queues, jobId, priority }
  }

  private partyWorld() {
    return { ...this.world(), redis: this.lane.redis, keys: this.lane.keys }
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
    const line = this.lane.readers[this.readers.length]
    if (line === undefined) return
    const exists = await this.lane.redis.exists(this.lane.keys.events(this.jobId))
    const seen = [START, ...this.landings.ids]
    const cursor = parseCursor(seen[(from * 7) % seen.length] ?? START) ?? START
    const reader = startReader(this.readerWorld(), line, cursor)
    reader.excused = exists === 0
    this.readers.push(reader)
  }

  private readerWorld() {
    const { modules, keys } = this.lane
    return {
      modules,
      keys,
      jobId: this.jobId,
      held: () => !this.over && this.queues.held,
      era: () => this.landings.era,
    }
  }

  private snapshotAt(index: number): Snapshot | undefined {
    if (this.snapshots.length === 0) return undefined
    // What came after it never was: nobody can fail over to it any more.
    this.snapshots.length = (index % this.snapshots.length) + 1
    return this.snapshots.at(-1)
  }

  private async loseThePast(pick: () => Snapshot | undefined): Promise<void> {
    if (this.twins()) return
    const snapshot = pick()
    if (snapshot === undefined) return
    const { redis, keys } = this.lane
    this.landings.era += 1
    await rollBack(
      redis,
      keys,
      this.jobId,
      snapshot,
      this.readers.flatMap(({ line }) => [...line.connections]),
    )
    // What a reader was sent just before may still be on its way to it.
    const at = await redisTimeMs(redis)
    while ((await redisTimeMs(redis)) <= at) await turn()
    this.clock.failOver()
    // A late `started` of an attempt that has been fenced would make its twin's epoch mean two pasts.
    if (this.clock.kind === 'frozen') this.gates.late.length = 0
    this.landings.era += 1
    this.queues.restore(snapshot.queues)
    if (snapshot.stream === undefined) for (const reader of this.readers) reader.excused = true
  }

  /**
   * Whether two attempts under way have one epoch: one of them has yet to learn that it is fenced. A failover that loses
   * the other's `started` and lets this one's in is what the writer does not survive (attempt-writer.ts); two readings of
   * one microsecond and a failover just then do not meet.
   */
  private twins(): boolean {
    const epochs = this.attempts.filter(({ done }) => !done).map(({ epoch }) => epoch)
    return epochs.some((epoch, index) => epoch !== undefined && epochs.indexOf(epoch) !== index)
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
    this.party(() => sweep(this.partyWorld()))
    await this.settle()
  }

  private async settle(): Promise<void> {
    const { waiting, late } = this.gates
    const until = performance.now() + SETTLE_MS
    for (;;) {
      await turn()
      if (this.violation !== undefined) throw this.violation
      if (performance.now() > until) throw new Error('the schedule does not come to rest')
      const command = waiting.shift()
      if (command !== undefined) await command.run('none')
      else if (late.length > 0) await late.shift()?.()
      else if (this.resting()) return
      else await this.gates.arrival(5)
    }
  }

  private resting(): boolean {
    const idle = this.attempts.filter(({ writer, done }) => !done && writer?.pending === 0)
    return this.parties.size === idle.length
  }

  async check(): Promise<void> {
    const { redis, keys, lastReader } = this.lane
    const { jobId, priority, log, landings, readers, cancelled } = this
    const comeBack = (cursor: Cursor) => {
      const reader = startReader(this.readerWorld(), lastReader, cursor)
      readers.push(reader)
      return reader
    }
    await checkJob({ redis, keys, jobId, priority, log, landings, readers, cancelled, comeBack })
  }

  async close(): Promise<void> {
    for (const attempt of this.attempts) attempt.writer?.abort()
    const { redis, keys } = this.lane
    await redis.del(keys.events(this.jobId))
    await redis.del(keys.counters)
    for (const key of [keys.deadlines, keys.batchIndex, keys.expiry, ...keys.indexes])
      await redis.zrem(key, this.jobId)
    // Readers that still wait for what will not come would find out after their block; now they do at once.
    this.over = true
    for (const reader of this.readers) if (reader.ended === undefined) reader.line.cut()
    await Promise.all(this.readers.map(endReader))
  }
}

async function endReader(reader: ReaderRun): Promise<void> {
  try {
    await within(reader.done, 'a reader of nothing does not end')
  } catch (error) {
    reader.abort.abort()
    await reader.done
    throw error
  }
}

function takeSnapshotOfNothing(queues: QueueModel): Snapshot {
  return { stream: undefined, deadline: undefined, counters: {}, index: [], queues: queues.save() }
}

function appendToken(attempt: Attempt): void {
  const i = attempt.next
  attempt.next += 1
  attempt.writer?.append('token', JSON.stringify({ t: `${attempt.tag}#${i}`, i, id: i, logprob: null }))
}

function appendEnd(attempt: Attempt): void {
  attempt.sealing = true
  attempt.writer?.seal('end', JSON.stringify(endData(attempt.next)))
}

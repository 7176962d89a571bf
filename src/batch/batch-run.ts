import { setMaxListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Redis } from 'ioredis'
import { startSweeper } from '../attempt/sweeper.ts'
import type { PoolClient } from '../client/pool-client.ts'
import { PoolError } from '../contract/error.ts'
import type { TerminalEvent } from '../contract/event.ts'
import type { JobInput } from '../contract/job.ts'
import type { PoolConfig } from '../contract/pool-config.ts'
import { poolKeys } from '../contract/keys.ts'
import type { PoolKeys } from '../contract/keys.ts'
import { openJobQueue } from '../queue/job-queue.ts'
import { connectToShard, disconnectRedis } from '../redis/connect.ts'
import { bareCause, isForbidden, redisUnavailable } from '../redis/fault.ts'
import { watchEnds } from '../stream/end-watch.ts'
import type { EndWatch } from '../stream/end-watch.ts'
import { createEventLog } from '../stream/event-log.ts'
import type { BatchOptions, BatchProgress } from './batch-options.ts'
import { readInput } from './input.ts'
import type { InputLine } from './input.ts'
import { isOfLine, parseJobLine } from './job-lines.ts'
import { createLimit } from './limit.ts'
import { LINE } from './line-set.ts'
import type { OutFile } from './out-file.ts'
import { createPatience } from './patience.ts'
import type { Patience } from './patience.ts'
import type { Prepared } from './prepare.ts'
import { recordOf, refusalOf } from './record.ts'
import type { Answer, Failure } from './record.ts'
import { createSettler } from './settler.ts'
import type { Settler } from './settler.ts'
import { idOfLine, tryCounts, writeRunState } from './run-state.ts'
import { createPace, windowFor } from './window.ts'

/** How many jobs are enqueued at once. */
const ENQUEUES = 64
/** While Redis still has more recorded jobs than this, no further line starts. */
const MAX_UNSETTLED = 1024
/** Maximum bytes of the lines in the window, unless a single line is larger. */
const WINDOW_BYTES = 32 * 1024 * 1024
/** How often the pool's slots are counted (ms). */
const MEASURE_MS = 2000
/** Shortest retention of a job (ms). An answer that expires before it is read would make its line run again and again. */
const MIN_RETENTION_MS = 60_000

/** A run that may not see its jobs end would wait forever. */
async function checkRights(redis: Redis, keys: PoolKeys, redisUrl: string): Promise<void> {
  try {
    await redis.zmscore(keys.deadlines, '-')
  } catch (error) {
    if (!isForbidden(error)) throw redisUnavailable(redisUrl, error)
    throw new PoolError(
      'REDIS_UNAVAILABLE',
      'Redis does not allow its user to see when jobs end (zmscore): run batches as a user that may enqueue, read and forget (ops/redis.acl: gateway, operator)',
      { cause: bareCause(error) },
    )
  }
}

/** A line whose job is in Redis, or being enqueued. */
interface OpenJob {
  readonly line: number
  readonly job: JobInput
  /** Frees its place in the window. */
  readonly release: () => void
  /** The running enqueue. */
  enqueuing: Promise<void> | undefined
  over: boolean
}

/** One run of the command, from its first job to its last record. */
export class BatchRun {
  private readonly options: BatchOptions
  private readonly pool: PoolClient
  private readonly minRetentionMs: number
  private readonly file: OutFile
  private readonly prepared: Prepared
  private readonly keys: PoolKeys
  private readonly failed = new AbortController()
  private readonly stop: AbortSignal
  private readonly patience: Patience
  private readonly enqueues = createLimit(ENQUEUES)
  private readonly settler: Settler
  private readonly tries: Uint16Array
  private readonly open = new Map<string, OpenJob>()
  private readonly pace = createPace()
  private watch: EndWatch | undefined
  /** Lines that have started and are not recorded. */
  private begun = 0
  private begunBytes = 0
  private slots = 0
  /** Which parts currently find Redis unreachable. */
  private readonly away = new Set<'calls' | 'watch'>()
  private wake: (() => void) | undefined
  private readonly progress: { -readonly [Key in keyof BatchProgress]: BatchProgress[Key] } & {
    codes: Map<string, number>
  }

  constructor(
    options: BatchOptions,
    ports: {
      readonly pool: PoolClient
      readonly config: PoolConfig
      readonly file: OutFile
      readonly prepared: Prepared
    },
  ) {
    this.options = options
    this.pool = ports.pool
    this.minRetentionMs = Math.min(MIN_RETENTION_MS, ports.config.max_retention_ms)
    this.file = ports.file
    this.prepared = ports.prepared
    this.keys = poolKeys(options.pool, options.prefix)
    this.stop = AbortSignal.any([options.signal, this.failed.signal])
    setMaxListeners(0, this.stop)
    this.patience = createPatience({
      signal: this.stop,
      onFull: (error) => options.report.onFull(error),
      onAway: (error) => this.onAway('calls', error),
      onBack: () => this.onBack('calls'),
    })
    this.settler = createSettler({
      pool: ports.pool,
      keys: this.keys,
      patience: this.patience,
      stop: this.stop,
      onSettled: () => this.wake?.(),
      onKept: (error) => options.report.onKept(error),
      onError: (error) => this.failed.abort(error),
    })
    const { state, counts } = ports.prepared
    this.tries = tryCounts(state.retries, state.input.lines)
    const codes = new Map([...counts].filter(([code]) => code !== ''))
    const failed = [...codes.values()].reduce((sum, count) => sum + count, 0)
    const answered = counts.get('') ?? 0
    const total = state.input.jobs
    const { pace } = this
    this.progress = {
      total,
      answered,
      failed,
      codes,
      left: total - answered - failed,
      get perSecond() {
        return pace.perSecond()
      },
    }
  }

  /** Runs the remaining lines; resolves when each line has its record. @throws the reason if it stops early. */
  async run(): Promise<BatchProgress> {
    const { options, keys, progress } = this
    const redis = await connectToShard(options.redisUrl, keys.config, { role: 'lookup' })
    await checkRights(redis, keys, options.redisUrl).catch((error: unknown) => {
      disconnectRedis(redis)
      throw error
    })
    const queue = openJobQueue(redis, keys)
    // Enforce deadlines here, too: without a running worker, the run would wait forever.
    const sweeper = startSweeper({
      redis,
      prefix: options.prefix,
      pool: { keys, log: createEventLog(redis, keys), queue },
      onError: () => undefined,
    })
    this.watch = watchEnds({
      redis,
      keys,
      onEnd: (jobId, event) => this.end(jobId, event),
      onMissing: (jobId) => this.enqueueAgain(jobId),
      onAway: (error) => this.onAway('watch', redisUnavailable(options.redisUrl, error)),
      onBack: () => this.onBack('watch'),
      onReconnect: () => {
        for (const jobId of this.open.keys()) this.enqueueAgain(jobId)
      },
    })
    const measuring = this.measure()
    this.onStop(() => this.wake?.())
    try {
      options.report.onStart(progress)
      const settling = this.settler.settleEarlier(redis, this.prepared.unsettled)
      await this.readLines()
      await settling
      while (this.begun > 0 || this.settler.left > 0) await this.change()
      // Jobs on record are erased, so the next run need not look for them.
      await writeRunState(this.file.path, { ...this.prepared.state, settled_bytes: this.file.size })
      return progress
    } catch (error) {
      this.failed.abort(error)
      throw error
    } finally {
      this.failed.abort(new Error('the run is over'))
      const stopped = [this.watch.stop(), measuring, sweeper.stop()]
      // Before awaiting them: they would hang on a Redis that does not answer.
      disconnectRedis(redis)
      await Promise.all(stopped)
      await queue.close()
    }
  }

  /** Reports once that Redis is unreachable. */
  private onAway(who: 'calls' | 'watch', error: PoolError): void {
    // When the run stops, pending calls lose their connection; that is no outage.
    if (this.stop.aborted) return
    if (this.away.size === 0) this.options.report.onAway(error)
    this.away.add(who)
  }

  private onBack(who: 'calls' | 'watch'): void {
    if (this.away.delete(who) && this.away.size === 0) this.options.report.onBack()
  }

  private onStop(act: () => void): void {
    this.stop.addEventListener('abort', act, { once: true })
  }

  /** Resolves at the next change. @throws the reason if the run stops. */
  private async change(): Promise<void> {
    this.stop.throwIfAborted()
    await new Promise<void>((resolve) => {
      this.wake = resolve
    })
    this.stop.throwIfAborted()
  }

  private async readLines(): Promise<void> {
    const { input } = this.options
    const before = this.prepared.state.input
    for await (const line of readInput({ file: input, signal: this.stop, before })) {
      // What is added meanwhile may be half a line, and is not in the state: it is for the next run.
      if (line.line > before.lines) break
      if (this.prepared.lines.get(line.line) !== LINE.open) continue
      while (this.isFull(line.bytes.length)) await this.change()
      this.begun += 1
      this.begunBytes += line.bytes.length
      this.begin(line)
    }
  }

  private isFull(bytes: number): boolean {
    if (this.begun === 0) return false
    const window = this.options.window ?? windowFor(this.slots, this.pace.perSecond())
    return (
      this.begun >= window || this.begunBytes + bytes > WINDOW_BYTES || this.settler.left >= MAX_UNSETTLED
    )
  }

  private begin({ line, bytes }: InputLine): void {
    const release = () => {
      this.begun -= 1
      this.begunBytes -= bytes.length
      this.wake?.()
    }
    const tries = this.tries[line] ?? 0
    const idOf = (own?: string) => idOfLine(this.prepared.state.run_id, { line, bytes, own, tries })
    try {
      const { job, jobId: own } = parseJobLine(bytes)
      const jobId = idOf(own)
      this.checkName(own, jobId)
      const body = { priority: 'batch' as const, ...job, ...retentionOf(job, this.minRetentionMs) }
      const open: OpenJob = { line, job: body, release, enqueuing: undefined, over: false }
      this.open.set(jobId, open)
      this.enqueue(jobId, open)
    } catch (error) {
      if (!isOfLine(error)) throw error
      this.record(refusalOf(idOf(), line, error), release)
    }
  }

  /** One id is one line's: also that of a second try, which may be what another line is named. */
  private checkName(own: string | undefined, jobId: string): void {
    if (own === undefined) return
    const { named } = this.prepared
    const isFree = named.add(own) && (jobId === own || named.add(jobId))
    if (!isFree)
      throw new PoolError('ID_CONFLICT', `job_id: expected one of its own, got that of another line`)
  }

  /** Enqueues a job, or finds the one that Redis has already; its end is then waited for. */
  private enqueue(jobId: string, open: OpenJob): void {
    const call = async () => {
      if (open.over) return
      await this.pool.enqueue(open.job, { jobId })
    }
    const enqueuing = this.enqueues(() => this.patience.through(call)).then(
      () => {
        if (!open.over) this.watch?.add(jobId)
      },
      (error: unknown) => {
        if (this.stop.aborted || open.over) return
        // Nothing of this job is in Redis, and its id may belong to another job, so erase nothing.
        if (isOfLine(error)) this.close(jobId, open, refusalOf(jobId, open.line, error), { erase: false })
        else this.failed.abort(error)
      },
    )
    open.enqueuing = enqueuing.finally(() => {
      open.enqueuing = undefined
    })
  }

  /** Enqueues a job again that Redis may have lost, wholly or in part. A no-op if Redis still has it. */
  private enqueueAgain(jobId: string): void {
    const open = this.open.get(jobId)
    if (open === undefined || open.over || open.enqueuing !== undefined) return
    this.watch?.delete(jobId)
    this.enqueue(jobId, open)
  }

  private async end(jobId: string, event: TerminalEvent): Promise<void> {
    const open = this.open.get(jobId)
    if (open === undefined || open.over) return
    this.close(jobId, open, recordOf(jobId, open.line, event), { erase: true })
    await this.file.room()
  }

  /** Records the outcome of a line, then erases its job. */
  private close(jobId: string, open: OpenJob, record: Answer | Failure, { erase }: { erase: boolean }): void {
    open.over = true
    this.watch?.delete(jobId)
    this.open.delete(jobId)
    this.record(record, () => {
      // Wait for a running enqueue, which would create the job again.
      if (erase) this.settler.settle(jobId, open.enqueuing)
      open.release()
    })
  }

  private record(record: Answer | Failure, then: () => void): void {
    const onRecord = () => {
      const { progress } = this
      this.pace.count()
      progress.left -= 1
      if ('error' in record) {
        progress.failed += 1
        progress.codes.set(record.error.code, (progress.codes.get(record.error.code) ?? 0) + 1)
      } else progress.answered += 1
      then()
    }
    this.file.append(record).then(onRecord, (error: unknown) => this.failed.abort(error))
  }

  /** Keeps counting the pool's slots, so that the window follows workers that start and stop. */
  private async measure(): Promise<void> {
    while (!this.stop.aborted && this.options.window === undefined) {
      const replicas = await this.pool.replicas({ signal: this.stop }).catch(() => undefined)
      if (replicas !== undefined) this.slots = replicas.reduce((sum, { slots }) => sum + slots, 0)
      this.wake?.()
      await sleep(MEASURE_MS, undefined, { signal: this.stop }).catch(() => undefined)
    }
  }
}

/** A longer retention for a job that asks for one that is too short. What is not valid is refused where it is enqueued. */
function retentionOf({ retention_ms: ms }: JobInput, leastMs: number): { retention_ms?: number } {
  return Number.isInteger(ms) && ms !== undefined && ms > 0 && ms < leastMs ? { retention_ms: leastMs } : {}
}

import type { PoolConfig } from '../contract/pool-config.ts'
import { PoolError } from '../contract/error.ts'
import { parseOrThrow } from '../contract/format-issues.ts'
import { jobIdSchema, newJobId } from '../contract/ids.ts'
import { CONTRACT_VERSION, digestOf, parseJob } from '../contract/job.ts'
import type { Job, JobInput, Priority } from '../contract/job.ts'
import type { PoolKeys } from '../contract/keys.ts'
import { budgetOf, checkBodySize } from '../contract/limits.ts'
import { QUEUED_ID, START } from '../contract/stream-id.ts'
import { readPoolConfig } from '../pool/config-store.ts'
import type { JobQueue } from '../queue/job-queue.ts'
import type { WaitingCounts } from '../queue/queue-depth.ts'
import { redisTimeMs } from '../redis/connect.ts'
import type { RedisConnection } from '../redis/connect.ts'
import { isOutOfMemory } from '../redis/fault.ts'
import { formatEntry, parseEntry } from '../stream/entry.ts'
import type { AdmissionBound, Load } from './admission-bound.ts'
import { bothOrNeither } from './both-or-neither.ts'
import type { EventLog } from '../stream/event-log.ts'
import { limitOf, memoryOf, outOfMemory, refuseWithoutMemory } from './memory-bound.ts'
import type { MemoryWatch } from './memory-watch.ts'
import type { Forecast, StartForecast } from './start-forecast.ts'

/** What enqueueing works with. */
export interface EnqueuePorts {
  readonly redis: RedisConnection
  readonly keys: PoolKeys
  readonly log: EventLog
  readonly queue: JobQueue
  readonly bound: AdmissionBound
  readonly memory: MemoryWatch
  readonly forecast: StartForecast
}

/** Options of an enqueue. */
interface EnqueueChoices {
  readonly jobId?: string | undefined
  readonly correlationId?: string | undefined
}

/** A job that was accepted: it will reach its terminal event. */
export interface Admission {
  /** The job's id: what every other call takes. Anyone who knows it can read, cancel and erase the job. */
  readonly job_id: string
  /** How many jobs were ahead of it, from 0. */
  readonly queue_position: number
  /** How long it is expected to wait (ms), if the pool's pace is known. */
  readonly predicted_start_ms?: number | undefined
  /** Whether the id was accepted before with the same body: this is that job. */
  readonly existing: boolean
}

/**
 * Accepts a job: its `queued` event first, then the queue. Nothing half done is ever accepted: when this throws,
 * the same call with the same id completes it or reports what stands in the way.
 *
 * @param options.jobId the idempotency key; made when absent.
 * @param options.correlationId the job's when its body has none.
 * @throws {@link PoolError} `INVALID_PARAMS`; `ID_CONFLICT` when the id has another body; `POOL_UNAVAILABLE`;
 * `ADMISSION_REJECT` when the queue or Redis's memory is full; `DEADLINE_UNMET` when the forecast start is after the deadline.
 */
export async function enqueueJob(
  ports: EnqueuePorts,
  body: JobInput,
  choices: EnqueueChoices = {},
): Promise<Admission> {
  try {
    return await enqueueChecked(ports, body, choices)
  } catch (error) {
    if (isOutOfMemory(error)) throw outOfMemory(error)
    throw error
  }
}

async function enqueueChecked(
  ports: EnqueuePorts,
  body: JobInput,
  { jobId, correlationId }: EnqueueChoices,
): Promise<Admission> {
  const { redis, keys, log, queue, memory } = ports
  const job = parseJob(correlationId === undefined ? body : { correlation_id: correlationId, ...body })
  const id = jobId === undefined ? newJobId() : parseOrThrow(jobIdSchema, jobId, 'job id')
  // One round trip: they are sent together.
  const [config, acceptedAt, waiting, heldBytes, held, [last]] = await Promise.all([
    readPoolConfig(redis, keys),
    redisTimeMs(redis, keys.config),
    queue.waiting(),
    queue.heldBytes(),
    jobId === undefined ? false : queue.holds(id),
    jobId === undefined ? [] : log.lastEntries([id]),
    memory.refresh(),
  ])
  const { deadlineMs } = budgetOf(job, config)
  const digest = digestOf(body)
  const bytes = bytesOf(body, config)
  // The queue may have been asked after the stream: another producer of this id may have been between the two.
  if (held && last === undefined && (await log.lastEntries([id]))[0] === undefined) {
    throw conflict(keys, id, 'a job without events, put in the queue by another producer')
  }
  const deadlineAt = acceptedAt + deadlineMs
  const position = positionOf(job, waiting)
  const expected = await ports.forecast.predict({ position, priority: job.priority, config })
  const startMs = expected?.startMs
  const admit = () =>
    admitJob(ports, {
      id,
      isNew: jobId === undefined,
      body,
      job,
      digest,
      acceptedAt,
      deadlineAt,
      position,
      startMs,
      bytes,
      config,
    })
  // Whoever comes again with its id is answered also when the queue is full by now.
  if (last !== undefined) return admit()
  if (expected !== undefined) refuseTooLate(keys, expected, { deadlineMs, position, priority: job.priority })
  const load = { jobs: waiting[job.priority], bytes: heldBytes }
  const needs = { bytes: memoryOf(bytes), percent: config.max_memory_percent }
  refuseWithoutMemory(keys, memory.use(), needs)
  const hasRoom = () => {
    const use = memory.use()
    return use === undefined || memory.hasRoom(needs.bytes, limitOf(use, needs.percent))
  }
  return ports.bound.run({
    priority: job.priority,
    load,
    bytes,
    bound: { jobs: config[MAX_QUEUED[job.priority]], bytes: config.max_queued_bytes },
    hasRoom,
    async recount() {
      const reading = hasRoom() ? memory.refresh() : memory.read()
      const [counts, all] = await Promise.all([queue.waiting(), queue.heldBytes(), reading])
      refuseWithoutMemory(keys, memory.use(), needs)
      return { jobs: counts[job.priority], bytes: all }
    },
    admit: () => memory.count(needs.bytes, admit),
    refuse: (now) => queueFull(keys, { now, config, bytes, priority: job.priority }),
  })
}

interface CheckedJob {
  readonly id: string
  /** The id was generated by this call, so no other process can have used it. */
  readonly isNew: boolean
  readonly body: JobInput
  readonly job: Job
  readonly digest: string
  readonly acceptedAt: number
  readonly deadlineAt: number
  readonly position: number
  readonly startMs: number | undefined
  /** How many bytes it takes of `max_queued_bytes`. */
  readonly bytes: number
  readonly config: PoolConfig
}

/** Writes `queued`, then puts the job in the queue; one whose id is new is put there without waiting for the answer. */
async function admitJob(ports: EnqueuePorts, checked: CheckedJob): Promise<Admission> {
  const { id, isNew, digest, deadlineAt, position, startMs } = checked
  const entry = formatEntry(QUEUED_ID, 'queued', {
    digest,
    accepted_at: checked.acceptedAt,
    deadline_at: deadlineAt,
    queue_position: position,
    ...predicted(startMs),
    priority: checked.job.priority,
    ...labelOf(checked.job),
    ...(checked.job.retention_ms === undefined ? {} : { retention_ms: checked.job.retention_ms }),
  })
  const writing = ports.log.write({
    jobId: id,
    expect: START,
    entries: [entry],
    deadlineAt,
    retentionMs: checked.config.retention_ms,
  })
  const add = async () => {
    const body = { v: CONTRACT_VERSION, ...checked.body, ...labelOf(checked.job) }
    await ports.queue.add(id, body, checked.job.priority, checked.bytes)
  }
  if (isNew) {
    const { retention_ms: retentionMs } = checked.config
    await bothOrNeither(ports, { id, retentionMs }, writing, add())
    return { job_id: id, queue_position: position, ...predicted(startMs), existing: false }
  }
  const { written } = await writing
  const first = written ? undefined : await firstAdmission(ports, id, digest)
  // A batch job of an older producer may wait in the other queue.
  if (first === undefined || (first.waiting && !(await ports.queue.holds(id)))) await add()
  return {
    job_id: id,
    queue_position: first?.position ?? position,
    ...predicted(first === undefined ? startMs : first.startMs),
    existing: !written,
  }
}

function labelOf({ correlation_id: correlationId }: Job): { correlation_id?: string } {
  return correlationId === undefined ? {} : { correlation_id: correlationId }
}

/** The job that has the id already, if it is the same one. */
async function firstAdmission(
  { log, keys }: EnqueuePorts,
  id: string,
  digest: string,
): Promise<{ position: number; startMs: number | undefined; waiting: boolean }> {
  const { entries } = await log.readOutline(id)
  const [first] = entries
  const opening = first === undefined ? undefined : parseEntry(first)
  if (opening?.event !== 'queued') throw conflict(keys, id, 'a job that another producer put in the queue')
  if (opening.data.digest !== digest) throw conflict(keys, id, 'a job with another body')
  // Its producer may have died before the queue had it.
  const { queue_position: position, predicted_start_ms: startMs } = opening.data
  return { position, startMs, waiting: entries.length === 1 }
}

function predicted(startMs: number | undefined): { predicted_start_ms?: number } {
  return startMs === undefined ? {} : { predicted_start_ms: startMs }
}

function conflict(keys: PoolKeys, id: string, what: string): PoolError {
  return new PoolError(
    'ID_CONFLICT',
    `job id ${id} in pool ${keys.pool} belongs to ${what}; nothing was changed. Use another id, or the same body`,
  )
}

/** The setting that bounds how many jobs wait. */
const MAX_QUEUED = { interactive: 'max_queued', batch: 'batch_max_queued' } as const

interface FullQueue {
  readonly now: Load
  readonly config: PoolConfig
  readonly bytes: number
  readonly priority: Priority
}

function queueFull({ pool }: PoolKeys, { now, config, bytes, priority }: FullQueue): PoolError {
  const setting = MAX_QUEUED[priority]
  const which = priority === 'batch' ? 'batch queue' : 'queue'
  const message =
    now.jobs >= config[setting]
      ? `the ${which} of pool ${pool} is full: ${now.jobs} jobs are waiting, the limit is ${config[setting]} (the pool's ${setting})`
      : `pool ${pool} is full: its jobs hold ${now.bytes} bytes and this one adds ${bytes}, the limit is ${config.max_queued_bytes} (the pool's max_queued_bytes)`
  return new PoolError('ADMISSION_REJECT', message, { retryAfterMs: 1000 })
}

/** The bytes of a job in a queue: roughly those of its body. */
function bytesOf(job: JobInput, config: PoolConfig): number {
  const bytes = Buffer.byteLength(JSON.stringify(job))
  checkBodySize(bytes)
  if (bytes <= config.max_queued_bytes) return bytes
  throw new PoolError(
    'INVALID_PARAMS',
    `job: expected at most ${config.max_queued_bytes} bytes (the pool's max_queued_bytes), got ${bytes}`,
  )
}

/** A forecast that rests on fewer jobs refuses none. */
const TRUSTED_FROM = 20
/** The longest `Retry-After` (ms): the pool may have grown by then. */
const MAX_RETRY_MS = 60_000

/** Refuses a job that would start after its deadline. */
function refuseTooLate(
  keys: PoolKeys,
  { startMs, jobCount }: Forecast,
  asked: { readonly deadlineMs: number; readonly position: number; readonly priority: Priority },
): void {
  const { deadlineMs, position, priority } = asked
  if (jobCount < TRUSTED_FROM || startMs <= deadlineMs) return
  const give = priority === 'interactive' ? 'a longer deadline_ms or priority batch' : 'a longer deadline_ms'
  throw new PoolError(
    'DEADLINE_UNMET',
    `pool ${keys.pool}: a job enqueued now would start in about ${formatMs(startMs)}, after its deadline of ${formatMs(deadlineMs)} (${position} jobs are ahead of it; forecast from the last ${jobCount} jobs). Give it ${give}, start more workers, or try again later`,
    { retryAfterMs: Math.min(Math.max(startMs - deadlineMs, 1000), MAX_RETRY_MS) },
  )
}

function formatMs(ms: number): string {
  return ms < 10_000 ? `${ms} ms` : `${Math.round(ms / 1000)} s`
}

function positionOf(job: Job, waiting: WaitingCounts): number {
  return job.priority === 'interactive' ? waiting.interactive : waiting.interactive + waiting.batch
}

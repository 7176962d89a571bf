import { entryId, SEAL_ID } from '../../../src/contract/stream-id.ts'
import type { Cursor } from '../../../src/contract/stream-id.ts'
import { DEFAULT_POOL_CONFIG } from '../../../src/contract/pool-config.ts'
import { viewLog } from '../../../src/attempt/log-view.ts'
import type { AttemptWriter } from '../../../src/stream/attempt-writer.ts'
import { formatEntry } from '../../../src/stream/entry.ts'
import type { LogEntry } from '../../../src/stream/entry.ts'
import { lastId } from '../../../src/stream/event-log.ts'
import type { EventLog, WriteRequest, WriteResult } from '../../../src/stream/event-log.ts'
import { isInjected } from './gates.ts'
import type { Gates } from './gates.ts'
import type { Landings } from './landings.ts'
import type { Modules } from './modules.ts'
import type { QueueModel } from './queue-model.ts'

/** A worker's try at the job. */
export interface Attempt {
  /** In its `started` and in every token it writes. */
  readonly tag: string
  readonly queue: number
  /** Undefined until `started` is written. */
  writer: AttemptWriter | undefined
  /** The index of its next token. */
  next: number
  sealing: boolean
  done: boolean
}

/** What attempts work on. */
export interface AttemptWorld {
  readonly modules: Modules
  readonly log: EventLog
  readonly gates: Gates
  readonly landings: Landings
  readonly queues: QueueModel
  readonly jobId: string
  readonly pool: string
}

/** More than any schedule has: giving up is tested elsewhere. */
const CONFIG = { ...DEFAULT_POOL_CONFIG, max_attempts: 1000 }
const VERSIONS = {
  engine: 'tgi',
  engine_version: '3.3.7',
  model_id: 'm',
  model_sha: null,
  max_total_tokens: 4096,
} as const

interface Beginning {
  readonly epoch: number
  readonly deadlineAt: number
  readonly history: readonly LogEntry[]
  readonly next: number
}

/**
 * Lives one attempt from pick-up to its end. Throws what no fault of the schedule explains.
 *
 * @param goesOn whether it continues after tokens, as `next_token` allows; today's pick-up ends such jobs.
 */
export async function liveAttempt(world: AttemptWorld, attempt: Attempt, goesOn: boolean): Promise<void> {
  const { queues } = world
  const { tag, queue } = attempt
  try {
    const beginning = await begin(world, attempt, goesOn)
    if (beginning === undefined) return queues.leave(queue, tag, 'absent')
    const outcome = await publish(world, attempt, beginning)
    queues.leave(queue, tag, outcome === 'sealed' ? 'absent' : 'waiting')
  } catch (error) {
    // A worker whose Redis does not answer gives the job back.
    if (!isInjected(error)) throw error
    queues.leave(queue, tag, 'waiting')
  } finally {
    attempt.done = true
  }
}

async function begin(world: AttemptWorld, attempt: Attempt, goesOn: boolean): Promise<Beginning | undefined> {
  const { jobId, pool } = world
  const log = gatedLog(world, attempt.tag)
  if (goesOn) {
    const beginning = await goOn(world, log, attempt.tag)
    if (beginning !== 'nothing to go on from') return beginning
  }
  const begun = await world.modules.pickUp({
    log,
    jobId,
    body: { inputs: 'x', correlation_id: attempt.tag },
    handBacks: 0,
    pool,
    replicaId: 'r',
    versions: VERSIONS,
    config: CONFIG,
  })
  return begun === undefined ? undefined : { ...begun, next: 0 }
}

async function goOn(
  world: AttemptWorld,
  log: Pick<EventLog, 'read' | 'write'>,
  tag: string,
): Promise<Beginning | 'nothing to go on from' | undefined> {
  const { jobId, pool } = world
  for (;;) {
    const { entries, nowMs } = await log.read(jobId)
    const view = viewLog(entries)
    if (view.sealed) return undefined
    if (view.tokens === 0) return 'nothing to go on from'
    const epoch = Math.max(nowMs, view.lastEpoch + 1)
    const started = formatEntry(entryId(epoch, 1), 'started', {
      attempt: view.attempts + 1,
      engine: 'tgi',
      engine_version: VERSIONS.engine_version,
      pool_id: pool,
      replica_id: 'r',
      model_id: VERSIONS.model_id,
      seed: 1,
      queue_time_ms: 0,
      determinism: 'best_effort',
      next_token: view.tokens,
      correlation_id: tag,
    })
    const deadlineAt = nowMs + CONFIG.deadline_ms
    const write = {
      jobId,
      expect: lastId(entries),
      entries: [started],
      deadlineAt,
      retentionMs: CONFIG.retention_ms,
    }
    const { written } = await log.write(write)
    if (written) return { epoch, deadlineAt, history: [...entries, started], next: view.tokens }
  }
}

/** Runs the writer to its outcome, and holds what it does and says against what has happened. */
async function publish(world: AttemptWorld, attempt: Attempt, { next, ...beginning }: Beginning) {
  const { landings, gates, queues, jobId } = world
  const { tag, queue } = attempt
  const begunAt = landings.all.length
  const { era } = landings
  const acked = new Set<Cursor>(beginning.history.map((entry) => entry.id))
  const log = gatedLog(world, tag)
  let mayRepeat = false
  let denied = false
  let broken: string | undefined

  async function checkedWrite(request: WriteRequest): Promise<WriteResult> {
    if (!mayRepeat && request.entries.some((entry) => acked.has(entry.id))) {
      broken = `${tag} wrote again what Redis had lost, without asking for its lock`
    }
    const result = await log.write(request)
    if (result.written) {
      for (const entry of request.entries) acked.add(entry.id)
      mayRepeat = false
    }
    return result
  }

  attempt.next = next
  attempt.writer = world.modules.createAttemptWriter({
    ...beginning,
    log: { write: checkedWrite },
    jobId,
    retentionMs: CONFIG.retention_ms,
    pendingBound: 4,
    confirmLock: async () => {
      mayRepeat = await gates.pass(async () => queues.owns(queue, tag))
      denied ||= !mayRepeat
      return mayRepeat
    },
  })
  const outcome = await attempt.writer.outcome
  // After a failover there may be an older past than the one it began on.
  const fenced = landings.byOthersSince(begunAt, tag) || landings.era !== era
  if (outcome === 'fenced' && !fenced) broken ??= `${tag} is fenced by nobody`
  if (outcome === 'lost' && !denied) broken ??= `${tag} gave up a lock that is its own`
  if (outcome === 'sealed' && !landings.ids.includes(SEAL_ID)) broken ??= `${tag} is sealed without a seal`
  if (broken !== undefined) throw new Error(broken)
  return outcome
}

/** The log as one party of the schedule has it: every command waits at its gate, and what lands is noted. */
export function gatedLog(world: Pick<AttemptWorld, 'log' | 'gates' | 'landings'>, who: string): EventLog {
  const { log, gates, landings } = world
  return {
    write: (request) =>
      gates.pass(async () => {
        const result = await log.write(request)
        if (result.written) landings.add(who, request.entries)
        return result
      }),
    read: (jobId) =>
      gates.pass(async () => {
        // Two workers that read one job within a millisecond may choose the same epoch. The script lets one of them
        // in; only a failover between their two writes could make the ids mean two things. It is left out here.
        let snapshot = await log.read(jobId)
        while (snapshot.nowMs <= landings.readAt) snapshot = await log.read(jobId)
        landings.readAt = snapshot.nowMs
        return snapshot
      }),
    lastEntries: (jobIds) => gates.pass(() => log.lastEntries(jobIds)),
  }
}

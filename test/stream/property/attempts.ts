import { SEAL_ID } from '../../../src/contract/stream-id.ts'
import type { Cursor } from '../../../src/contract/stream-id.ts'
import { DEFAULT_POOL_CONFIG } from '../../../src/contract/pool-config.ts'
import { readGivenJob } from '../../../src/attempt/given-job.ts'
import type { Priority } from '../../../src/contract/job.ts'
import type { PickedUp, PickUpRequest } from '../../../src/attempt/pick-up.ts'
import type { AttemptWriter } from '../../../src/stream/attempt-writer.ts'
import type { EventLog, WriteRequest, WriteResult } from '../../../src/stream/event-log.ts'
import type { Clock } from './clock.ts'
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
  /** Undefined until it has picked up the job, and so is its epoch. */
  writer: AttemptWriter | undefined
  epoch: number | undefined
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
  readonly clock: Clock
  readonly queues: QueueModel
  readonly jobId: string
  readonly priority: Priority
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

/**
 * Lives one attempt from pick-up to its end. Throws what no fault of the schedule explains.
 *
 * @param goesOn whether the job may go on after tokens; else its next pick-up ends it.
 */
export async function liveAttempt(world: AttemptWorld, attempt: Attempt, goesOn: boolean): Promise<void> {
  const { queues, landings } = world
  const { tag, queue } = attempt
  const since = { landed: landings.all.length, era: landings.era }
  try {
    const begun = await world.modules.pickUp(pickUpRequest(world, tag, goesOn))
    if (begun.kind !== 'begun') return queues.leave(queue, tag, 'absent')
    const outcome = await publish(world, attempt, begun, since)
    queues.leave(queue, tag, outcome === 'sealed' ? 'absent' : 'waiting')
  } catch (error) {
    // A worker whose Redis does not answer gives the job back.
    if (!isInjected(error)) throw error
    queues.leave(queue, tag, 'waiting')
  } finally {
    attempt.done = true
  }
}

const nobody = () => Promise.reject(new Error('no replica is asked here'))

/** A job that goes on is repeated: no replica has to be asked for that. */
function pickUpRequest(world: AttemptWorld, tag: string, goesOn: boolean): PickUpRequest {
  return {
    log: gatedLog(world, tag, false),
    jobId: world.jobId,
    given: readGivenJob(
      world.jobId,
      {
        inputs: 'x',
        priority: world.priority,
        correlation_id: tag,
        on_interrupt: goesOn ? 'replay' : 'fail',
      },
      CONFIG,
    ),
    handBacks: 0,
    deaths: 0,
    queuedAtMs: Number.NaN,
    pool: world.pool,
    replicaId: 'r',
    versions: VERSIONS,
    config: CONFIG,
    client: { tokenize: nobody },
    chat: { render: nobody },
    hasBuild: nobody,
    signal: new AbortController().signal,
  }
}

/** Runs the writer to its outcome, and holds what it does and says against what has happened. */
async function publish(
  world: AttemptWorld,
  attempt: Attempt,
  begun: PickedUp,
  since: { readonly landed: number; readonly era: number },
) {
  const { landings, gates, queues, jobId } = world
  const { tag, queue } = attempt
  const { epoch, deadlineAt, history } = begun
  const acked = new Set<Cursor>(history.map((entry) => entry.id))
  const log = gatedLog(world, tag, false)
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

  attempt.next = begun.tokens
  attempt.epoch = epoch
  attempt.writer = world.modules.createAttemptWriter({
    epoch,
    deadlineAt,
    history,
    log: { write: checkedWrite, read: (id) => log.read(id) },
    jobId,
    retentionMs: CONFIG.retention_ms,
    priority: begun.job.priority,
    pendingBound: 4,
    confirmLock: async () => {
      mayRepeat = await gates.pass(async () => queues.owns(queue, tag), false)
      denied ||= !mayRepeat
      return mayRepeat
    },
  })
  attempt.writer.append('started', JSON.stringify(begun.started))
  const outcome = await attempt.writer.outcome
  // After a failover there may be an older past than the one it began on.
  const fenced = landings.byOthersSince(since.landed, tag) || landings.era !== since.era
  if (outcome === 'fenced' && !fenced) broken ??= `${tag} is fenced by nobody`
  if (outcome === 'lost' && !denied) broken ??= `${tag} gave up a lock that is its own`
  if (outcome === 'sealed' && !landings.ids.includes(SEAL_ID)) broken ??= `${tag} is sealed without a seal`
  if (broken !== undefined) throw new Error(broken)
  return outcome
}

/**
 * The log as one party of the schedule has it: every command waits at its gate, and what lands is noted.
 *
 * @param resends `false` for workers: their `writer` line sends nothing twice (redis/connect.ts).
 */
export function gatedLog(
  world: Pick<AttemptWorld, 'log' | 'gates' | 'landings' | 'clock'>,
  who: string,
  resends: boolean,
): EventLog {
  const { log, gates, landings, clock } = world
  const read = (jobId: string) =>
    gates.pass(async () => {
      const snapshot = await log.read(jobId)
      const nowUs = clock.read(snapshot.nowUs)
      return { ...snapshot, nowUs, nowMs: Math.floor(nowUs / 1000) }
    }, resends)
  return {
    write: (request) =>
      gates.pass(async () => {
        const result = await log.write(request)
        if (result.written) landings.add(who, request.entries)
        return result
      }, resends),
    read,
    readOutline: read,
    lastEntries: (jobIds) => gates.pass(() => log.lastEntries(jobIds), resends),
  }
}

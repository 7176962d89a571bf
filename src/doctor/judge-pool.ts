import { reservedSlots } from '../contract/limits.ts'
import type { PoolConfig } from '../contract/pool-config.ts'
import type { PoolFacts, ReplicaFacts } from '../metrics/pool-facts.ts'
import type { Finding } from './finding.ts'
import { count, judgeOf } from './finding.ts'
import type { Judge } from './finding.ts'
import type { QueueLook } from './pool-look.ts'
import { shellWord } from '../runtime/shell-word.ts'

/** What was seen of a pool. */
export interface PoolSight {
  /** Undefined when it cannot be read. */
  readonly config: PoolConfig | undefined
  /** BullMQ's prefix of it. */
  readonly queuePrefix: string
  readonly facts: PoolFacts
  readonly look: QueueLook
}

const NEARLY_FULL = 0.8
/** A job that waits this long beside a free slot waits for something else (s). */
const STUCK_S = 10

/** Holds what was seen of a pool's queue and workers against what should be. Pure. */
export function judgePool(sight: PoolSight): Finding[] {
  const judge = judgeOf(`pool ${sight.facts.poolId}`)
  return [
    workers(judge, sight),
    queue(judge, sight),
    paused(judge, sight),
    deadlines(judge, sight),
    locks(judge, sight),
    versions(judge, sight),
  ]
}

/** The replicas that a live worker serves or stands by for. */
function served({ facts }: PoolSight): readonly ReplicaFacts[] {
  return facts.replicas.filter(({ entry, standbys }) => entry.state !== 'lost' || standbys > 0)
}

function waitingOf({ facts: { depth } }: PoolSight): number {
  return depth.interactive + depth.batch
}

function startAdvice(pool: string): string {
  return `tgi-pool worker --pool ${shellWord(pool)} --replica http://<host>:<port>`
}

function workers(judge: Judge, sight: PoolSight): Finding {
  const { poolId, depth } = sight.facts
  const waiting = waitingOf(sight) + depth.delayed
  const alive = served(sight)
  const ready = alive.filter(({ entry }) => entry.state === 'ready').length
  if (ready > 0) return judge.ok('pool-workers', `${ready} of ${count(alive.length, 'replica')} ready`, ready)
  const who =
    alive.length === 0
      ? 'no worker serves it'
      : `none of its ${count(alive.length, 'replica')} is ready (${alive.map(({ entry }) => entry.state).join(', ')})`
  const advice =
    alive.length === 0 ? startAdvice(poolId) : `tgi-pool replicas --pool ${shellWord(poolId)} shows why`
  if (waiting === 0) return judge.warning('pool-workers', who, advice, 0)
  return judge.fault('pool-workers', `${count(waiting, 'job')} waiting, and ${who}`, advice, waiting)
}

function queue(judge: Judge, sight: PoolSight): Finding {
  const { facts, config } = sight
  const { depth, poolId, oldestWaitSeconds } = facts
  const waiting = waitingOf(sight)
  const oldest = Math.round(oldestWaitSeconds)
  const since = waiting + depth.delayed === 0 ? '' : `, the longest for ${oldest} s`
  const message = `${waiting} waiting (${depth.interactive} interactive, ${depth.batch} batch), ${depth.delayed} handed back, ${depth.active} running${since}`
  const fullest = boundsOf(sight).toSorted((a, b) => b.got / b.max - a.got / a.max)[0]
  if (fullest !== undefined && fullest.got >= fullest.max * NEARLY_FULL) {
    const { name, got, max } = fullest
    const advice = `start more workers, or tgi-pool pool set ${name}=${max * 2} --pool ${shellWord(poolId)}`
    if (got >= max)
      return judge.fault(
        'pool-queue',
        `${message}: full (${name} ${max}), new jobs are refused`,
        advice,
        waiting,
      )
    return judge.warning('pool-queue', `${message}: nearly full (${name} ${max})`, advice, waiting)
  }
  // What is kept for interactive jobs is not free to others.
  const kept = (slots: number) =>
    config === undefined || facts.depth.interactive > 0 ? 0 : reservedSlots(config, slots)
  const free = served(sight).reduce((sum, { entry }) => sum + freeSlots(entry, kept(entry.slots)), 0)
  if (waiting > 0 && free > 0 && oldest >= STUCK_S && sight.look.paused.length === 0) {
    const logs = "check the workers' logs; restarting a worker makes it take the waiting jobs"
    return judge.warning(
      'pool-queue',
      `${message}, although ${count(free, 'slot')} ${free === 1 ? 'is' : 'are'} free`,
      logs,
      oldest,
    )
  }
  return judge.ok('pool-queue', message, waiting)
}

/** A setting that bounds the queue, and the current value. */
interface Bound {
  readonly name: 'max_queued' | 'batch_max_queued' | 'max_queued_bytes'
  readonly got: number
  readonly max: number
}

function boundsOf({ config, facts: { depth }, look }: PoolSight): Bound[] {
  if (config === undefined) return []
  return [
    { name: 'max_queued', got: depth.interactive, max: config.max_queued },
    { name: 'batch_max_queued', got: depth.batch, max: config.batch_max_queued },
    { name: 'max_queued_bytes', got: look.bytes, max: config.max_queued_bytes },
  ]
}

function freeSlots(entry: ReplicaFacts['entry'], kept: number): number {
  return entry.state === 'ready' ? Math.max(0, entry.slots - kept - entry.busy) : 0
}

function paused(judge: Judge, { look, queuePrefix }: PoolSight): Finding {
  const [first] = look.paused
  if (first === undefined) return judge.ok('pool-paused', 'the queues are not paused')
  return judge.fault(
    'pool-paused',
    `BullMQ queue ${look.paused.join(' and ')} is paused: workers take no jobs from it`,
    `new Queue(${JSON.stringify(first)}, { prefix: ${JSON.stringify(queuePrefix)}, connection }).resume(), with BullMQ`,
  )
}

function deadlines(judge: Judge, { look, facts: { poolId } }: PoolSight): Finding {
  if (look.overdue === 0) return judge.ok('pool-deadlines', 'no job is past its deadline', 0)
  return judge.fault(
    'pool-deadlines',
    `${count(look.overdue, 'job')} past the deadline but not ended: no process sweeps them`,
    `${startAdvice(poolId)}; any worker of the pool ends them`,
    look.overdue,
  )
}

function locks(judge: Judge, sight: PoolSight): Finding {
  const { unlocked } = sight.look
  if (unlocked === 0) return judge.ok('pool-locks', 'every running job has a live worker', 0)
  const what = `${count(unlocked, 'job')} whose worker is gone`
  if (served(sight).length > 0) {
    const advice = "run doctor again; if it stays, check the workers' logs"
    return judge.warning('pool-locks', `${what}; another takes over in a few seconds`, advice, unlocked)
  }
  return judge.fault(
    'pool-locks',
    `${what}, and no other worker serves the pool`,
    startAdvice(sight.facts.poolId),
    unlocked,
  )
}

function versions(judge: Judge, sight: PoolSight): Finding {
  const { poolId } = sight.facts
  const pin = sight.config?.pin ?? {}
  const fields = (['engine_version', 'model_id', 'model_sha'] as const).filter(
    (field) => pin[field] === undefined,
  )
  const seen = served(sight).flatMap(({ entry }) => (entry.versions === null ? [] : [entry.versions]))
  const differing = fields
    .map((field) => ({ field, values: [...new Set(seen.map((tuple) => String(tuple[field])))].toSorted() }))
    .filter(({ values }) => values.length > 1)
  if (differing.length > 0) {
    const wanted = Object.fromEntries(differing.map(({ field, values }) => [field, values[0]]))
    const what = differing.map(({ field, values }) => `${field} (${values.join(', ')})`).join(' and ')
    return judge.warning(
      'pool-versions',
      `its replicas differ in ${what}; answers depend on the replica`,
      `tgi-pool pool set pin=${shellWord(JSON.stringify({ ...pin, ...wanted }))} --pool ${shellWord(poolId)}, with the values that are right`,
      Math.max(...differing.map(({ values }) => values.length)),
    )
  }
  const pinned = Object.keys(pin).length > 0 ? `pinned to ${JSON.stringify(pin)}` : 'not pinned'
  return judge.ok('pool-versions', `${pinned}; its replicas are alike`)
}

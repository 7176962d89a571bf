/**
 * One worker: one replica, its slots, and everything that decides whether a slot may take a job.
 *
 * Start: Redis → pool → consumer (shut) → wake-ups → replica session → lease → registry and sweeps. The consumer
 * opens when the lease is held, the replica is ready and the breaker lets through, and shuts when one of them
 * fails.
 *
 * Stop: take nothing more → running attempts may finish in the grace time → the others are interrupted and hand
 * their jobs back → lease, so that a standby takes over at once → registry → sockets. Sweeps stop last but for the
 * connections, since deadlines pass while we wait.
 */
import { randomUUID } from 'node:crypto'
import { parseOrThrow } from '../contract/format-issues.ts'
import { poolIdSchema, replicaIdSchema } from '../contract/ids.ts'
import { poolKeys } from '../contract/keys.ts'
import { SEAL_ID } from '../contract/stream-id.ts'
import type { ReplicaEntry, ReplicaState } from '../contract/replica-entry.ts'
import { createChatRenderer } from '../attempt/chat.ts'
import type { ChatRenderer } from '../attempt/chat.ts'
import { sealGivenUp } from '../attempt/give-up.ts'
import { Interruption } from '../attempt/interruption.ts'
import type { InterruptionKind } from '../attempt/interruption.ts'
import { runAttempt } from '../attempt/run-attempt.ts'
import type { AttemptReport } from '../attempt/run-attempt.ts'
import { startSweeper } from '../attempt/sweeper.ts'
import { ensurePool, readPoolConfig } from '../pool/config-store.ts'
import { startConsumer } from '../queue/consumer.ts'
import type { Disposition, TakenJob } from '../queue/consumer.ts'
import { openJobQueue } from '../queue/job-queue.ts'
import { createBreaker } from '../replica/breaker.ts'
import { startLease } from '../replica/lease.ts'
import { REGISTRY_BEAT_MS, publishReplica, withdrawReplica } from '../replica/registry.ts'
import { startSession } from '../replica/session.ts'
import type { SessionState } from '../replica/session.ts'
import { createEventLog } from '../stream/event-log.ts'
import { listenForSeals } from '../stream/wake-ups.ts'
import { createTgiClient } from '../tgi/client.ts'
import { openConnections } from './connections.ts'
import { createFaultLog } from './fault-log.ts'
import { probeReplica } from './probe.ts'
import { WORKER_DEFAULTS, replicaIdOf } from './worker-options.ts'
import type { WorkerOptions } from './worker-options.ts'

/** A running worker. */
export interface PoolWorker {
  readonly workerId: string
  readonly replicaId: string
  readonly state: ReplicaState
  /** Attempts under way. */
  readonly busy: number
  /**
   * Drains: takes nothing more, lets attempts finish for `graceMs`, then hands the rest back. Resolves when nothing
   * is left. Calling it again with a shorter time shortens the wait.
   */
  stop(graceMs?: number): Promise<void>
}

interface Running {
  readonly interrupt: AbortController
  readonly done: Promise<unknown>
}

/** How often the pool's config is read again (ms). */
const CONFIG_BEAT_MS = 5000

/**
 * Starts a worker; resolves when it is registered, whether or not its replica is ready yet.
 *
 * @throws `PoolError` `CONFIG` or `INVALID_PARAMS` for bad options, `REDIS_UNAVAILABLE`.
 */
// Longer than forty lines: it is the list of what a worker is made of, and its closures share one state.
export async function startWorker(options: WorkerOptions): Promise<PoolWorker> {
  const settings = { ...WORKER_DEFAULTS, ...definedOnly(options) }
  const { lockMs, logger } = settings
  const pool = parseOrThrow(poolIdSchema, options.pool, 'pool')
  const client = createTgiClient({ url: options.replicaUrl, apiKey: options.apiKey })
  const replicaId = parseOrThrow(
    replicaIdSchema,
    options.replicaId ?? replicaIdOf(options.replicaUrl),
    'replica id',
  )
  const keys = poolKeys(pool, settings.prefix)
  const workerId = randomUUID()
  const connections = await openConnections(options.redisUrl, logger)
  const faultLog = createFaultLog(logger)
  const log = createEventLog(connections.writer, keys)
  const queue = openJobQueue(connections.commands, keys)
  const breaker = createBreaker()
  const running = new Map<string, Running>()
  let config = await ensurePool(connections.commands, keys)
  let chat: ChatRenderer = createChatRenderer(client)
  let busy = 0
  let lastTokenAt = -Infinity
  let queueDepth: number | undefined
  let stopping = false
  let reopen: NodeJS.Timeout | undefined

  const consumer = startConsumer({
    connection: connections.queue,
    keys,
    slots: settings.slots,
    lockMs,
    stalledIntervalMs: settings.stalledIntervalMs,
    run,
    onGivenUp: (jobId) => {
      sealGivenUp({ log, jobId, pool, retentionMs: config.retention_ms }).catch((error: unknown) =>
        faultLog('a job that was given up could not be ended; its deadline will', error),
      )
    },
    onError: (error) => faultLog('queue', error),
  })

  const session = startSession({
    probe: (signal) => probeReplica(client, signal),
    pin: () => config.pin,
    lastActivity: () => lastTokenAt,
    beatMs: settings.probeMs,
    onChange: sessionChanged,
  })

  const lease = startLease({
    redis: connections.commands,
    keys,
    replicaId,
    workerId,
    leaseMs: settings.leaseMs,
    onGained: () => {
      logger.info({ replica_id: replicaId }, 'lease acquired')
      update()
    },
    onLost: () => {
      logger.warn({ replica_id: replicaId }, 'lease lost: every request on the replica is closed')
      interruptAll('lease_lost')
      update()
    },
    onError: (error) => faultLog('lease', error),
  })

  const sweeper = startSweeper({
    redis: connections.commands,
    prefix: settings.prefix,
    onError: (error) => faultLog('deadline sweep', error),
  })

  /** How many requests the replica may have open now. */
  function slotsNow(): number {
    const most = session.current.versions?.max_concurrent_requests ?? settings.slots
    return Math.max(1, Math.min(settings.slots, most))
  }

  function state(): ReplicaState {
    if (stopping) return 'draining'
    if (!lease.held) return 'standby'
    const { state: session_ } = session.current
    return session_ === 'connecting' ? 'unhealthy' : session_
  }

  function isOpen(): boolean {
    return !stopping && lease.held && session.current.state === 'ready' && breaker.openUntil === undefined
  }

  /** Brings the consumer and the registry in line with what is known. */
  function update(): void {
    clearTimeout(reopen)
    if (isOpen()) {
      consumer.resize(breaker.probing ? 1 : slotsNow())
      consumer.open()
    } else {
      consumer.shut()
      if (breaker.openUntil !== undefined) {
        reopen = setTimeout(
          () => {
            breaker.expire(performance.now())
            update()
          },
          Math.max(1, breaker.openUntil - performance.now()),
        )
      }
    }
    void register()
  }

  function entry(): Omit<ReplicaEntry, 'updated_at'> {
    const { versions, reason } = session.current
    return {
      replica_id: replicaId,
      worker_id: workerId,
      url: client.url,
      state: state(),
      ...(reason === undefined ? {} : { reason }),
      versions: versions ?? null,
      slots: isOpen() ? slotsNow() : 0,
      slots_configured: settings.slots,
      busy,
      capabilities: ['generate', 'chat'],
    }
  }

  async function register(): Promise<void> {
    await publishReplica(connections.commands, keys, entry()).catch((error: unknown) =>
      faultLog('registry', error),
    )
  }

  function sessionChanged(current: SessionState): void {
    const facts = { replica_id: replicaId, ...current.versions, reason: current.reason }
    if (current.state === 'ready') logger.info(facts, 'replica is ready')
    else logger.warn(facts, `replica is ${current.state}`)
    // Another build or model may render chats in another way.
    chat = createChatRenderer(client)
    update()
  }

  function interruptAll(kind: InterruptionKind): void {
    for (const { interrupt } of running.values()) interrupt.abort(new Interruption(kind))
  }

  async function run(job: TakenJob): Promise<Disposition> {
    const earlier = running.get(job.id)
    const versions = session.current.versions
    if (!isOpen() || versions === undefined || busy >= slotsNow() || !breaker.admit(performance.now())) {
      return { kind: 'refused' }
    }
    busy += 1
    const interrupt = new AbortController()
    const attempt = (async () => {
      // Its lock was lost and came back to us: it must be gone before its successor begins.
      await earlier?.done
      return runAttempt(
        job,
        {
          log,
          pool,
          replicaId,
          versions,
          config,
          client,
          chat,
          queueDepth: () => queueDepth,
          lockMs,
          onToken: () => {
            lastTokenAt = performance.now()
          },
          onReplica: replicaAnswered,
          onRetry: (error) => faultLog('events wait for Redis', error),
        },
        interrupt,
      )
    })()
    const mine: Running = { interrupt, done: attempt.catch(() => undefined) }
    running.set(job.id, mine)
    try {
      const report = await attempt
      logAttempt(job.id, report)
      return report.disposition
    } finally {
      busy -= 1
      breaker.forget()
      if (running.get(job.id) === mine) running.delete(job.id)
    }
  }

  function replicaAnswered(result: 'ok' | 'fault' | 'overloaded'): void {
    const before = breaker.openUntil !== undefined || breaker.probing
    breaker.record(result, performance.now())
    if (result === 'fault') session.nudge()
    if (before || breaker.openUntil !== undefined) update()
  }

  function logAttempt(jobId: string, report: AttemptReport): void {
    const { disposition, ...facts } = report
    const level = report.outcome === 'INTERNAL' || report.outcome === 'WORKER_RESET' ? 'warn' : 'info'
    logger[level](
      {
        job_id: jobId,
        pool_id: pool,
        replica_id: replicaId,
        disposition: disposition.kind,
        outcome: facts.outcome,
        attempt: facts.attempt,
        tokens_out: facts.tokensOut,
        queue_time_ms: facts.queueTimeMs,
        first_token_ms: facts.firstTokenMs,
        decode_time_ms: facts.decodeTimeMs,
        correlation_id: facts.correlationId,
        reason: facts.message,
      },
      'attempt ended',
    )
  }

  /** Looks whether running jobs are over: pub/sub may have lost a message. */
  async function resync(): Promise<void> {
    const ids = [...running.keys()]
    if (ids.length === 0) return
    const last = await log.lastEntries(ids)
    for (const [index, id] of ids.entries()) {
      if (last[index]?.id === SEAL_ID) running.get(id)?.interrupt.abort(new Interruption('sealed'))
    }
  }

  await listenForSeals({
    redis: connections.subscriber,
    keys,
    onSealed: (jobId) => running.get(jobId)?.interrupt.abort(new Interruption('sealed')),
    onSubscribed: () => void resync().catch((error: unknown) => faultLog('look at running jobs', error)),
  })
  await register()

  const beat = setInterval(() => {
    void register()
    resync().catch((error: unknown) => faultLog('look at running jobs', error))
    if (config.metrics_interval_ms > 0) {
      queue.waiting().then(
        (counts) => {
          queueDepth = counts.interactive + counts.batch
        },
        () => undefined,
      )
    }
  }, REGISTRY_BEAT_MS)
  const configBeat = setInterval(() => {
    readPoolConfig(connections.commands, keys).then(
      (next) => {
        config = next
      },
      (error: unknown) => faultLog('pool config', error),
    )
  }, CONFIG_BEAT_MS)

  let stopped: Promise<void> | undefined
  let graceOver: AbortController | undefined

  async function stop(): Promise<void> {
    stopping = true
    update()
    await Promise.race([
      Promise.allSettled([...running.values()].map(({ done }) => done)),
      new Promise<void>((resolve) =>
        graceOver?.signal.addEventListener('abort', () => resolve(), { once: true }),
      ),
    ])
    interruptAll('drain')
    await consumer.close()
    clearInterval(beat)
    clearInterval(configBeat)
    clearTimeout(reopen)
    const leftBehind = {
      replica_id: replicaId,
      worker_id: workerId,
      state: lease.held ? 'draining' : 'standby',
    } as const
    const goodbye = [
      () => lease.release(),
      () => withdrawReplica(connections.commands, keys, leftBehind),
      () => session.stop(),
      () => client.close(),
      () => sweeper.stop(),
      () => queue.close(),
    ]
    for (const step of goodbye) await step().catch((error: unknown) => faultLog('stop', error))
    connections.close()
  }

  return {
    workerId,
    replicaId,
    get state() {
      return state()
    },
    get busy() {
      return busy
    },
    stop(graceMs = WORKER_DEFAULTS.graceMs) {
      graceOver ??= new AbortController()
      const over = graceOver
      setTimeout(() => over.abort(), graceMs).unref()
      stopped ??= stop()
      return stopped
    },
  }
}

function definedOnly<T extends object>(options: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]: Exclude<T[K], undefined>
  }
}

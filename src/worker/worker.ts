/**
 * One worker: one replica, its slots, and everything that decides whether a slot may take a job.
 *
 * Start: Redis → pool → consumer (shut) → replica session, lease, sweeps → wake-ups → registry. The gate opens when
 * the lease is held, the replica is ready, no drain is requested and the breaker lets jobs through, and shuts when one of
 * them fails.
 *
 * Stop: take nothing more → running attempts may finish in the grace time → the others are interrupted and hand
 * their jobs back → lease, so that a standby takes over at once → registry → sockets. Each step has a bound, since
 * Redis may be away; then the connections are cut, and locks and lease run out by themselves.
 *
 * Past 250 lines: what a part does stands in a file of its own; that they fit together is seen here, in one place.
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { createChatRenderer } from '../attempt/chat.ts'
import type { ChatRenderer } from '../attempt/chat.ts'
import { sealGivenUp } from '../attempt/give-up.ts'
import { Interruption } from '../attempt/interruption.ts'
import { logJobEnd } from '../attempt/job-end.ts'
import type { JobEnd } from '../attempt/job-end.ts'
import type { ReplicaVerdict } from '../attempt/policy.ts'
import { notBegun, runAttempt } from '../attempt/run-attempt.ts'
import { startSweeper } from '../attempt/sweeper.ts'
import { parseOrThrow } from '../contract/format-issues.ts'
import { poolIdSchema, replicaIdSchema } from '../contract/ids.ts'
import { poolKeys } from '../contract/keys.ts'
import { reservedSlots } from '../contract/limits.ts'
import type { PoolConfig } from '../contract/pool-config.ts'
import type { ReplicaEntry, ReplicaState } from '../contract/replica-entry.ts'
import { SEAL_ID } from '../contract/stream-id.ts'
import { startConsumer } from '../queue/consumer.ts'
import type { Disposition, TakenJob } from '../queue/consumer.ts'
import { openJobQueue } from '../queue/job-queue.ts'
import { clearEmptyQueues } from '../queue/queue-meta.ts'
import { createBreaker } from '../replica/breaker.ts'
import { listenForWishes, readDrain } from '../replica/drain.ts'
import type { DrainWish } from '../replica/drain.ts'
import { startLease } from '../replica/lease.ts'
import { hasBuild } from '../replica/registry.ts'
import { startSession } from '../replica/session.ts'
import type { SessionState } from '../replica/session.ts'
import { within } from '../runtime/within.ts'
import { createEventLog } from '../stream/event-log.ts'
import { listenForSeals } from '../stream/wake-ups.ts'
import { createTgiClient } from '../tgi/client.ts'
import type { TgiClient } from '../tgi/client.ts'
import { LAST_LIFE, createApart } from './apart.ts'
import type { EngineFailure } from './apart.ts'
import { logAttempt } from './attempt-log.ts'
import { createBreakerLog } from './breaker-log.ts'
import { openConnections } from './connections.ts'
import type { WorkerConnections } from './connections.ts'
import { createDeletionWatch } from './deletion-watch.ts'
import { createDrainWatch } from './drain-watch.ts'
import { createFailedHere } from './failed-here.ts'
import { createFaultLog } from './fault-log.ts'
import { openOwnPool } from './own-pool.ts'
import { createPace } from './pace.ts'
import { findOtherAddress, sharedIdError } from './other-address.ts'
import { watchPrefills } from './prefills.ts'
import { probeReplica } from './probe.ts'
import { startRegistration } from './registration.ts'
import { createRunningAttempts } from './running-attempts.ts'
import { createSlotGate } from './slot-gate.ts'
import { createSolo } from './solo.ts'
import { createSentAway } from './sent-away.ts'
import { createTrial } from './trial.ts'
import { replicaIdOf, settingsOf } from './worker-options.ts'
import type { WorkerOptions, WorkerSettings } from './worker-options.ts'

/** A running worker. */
export interface PoolWorker {
  readonly workerId: string
  readonly replicaId: string
  readonly state: ReplicaState
  /** How the replica differs from the pool's pin, if it does. */
  readonly drift: string | undefined
  /** Attempts under way. */
  readonly busy: number
  /**
   * Drains: takes nothing more, lets attempts finish for `graceMs`, then hands the rest back. Resolves when nothing
   * is left, a few seconds after the grace time at most. Calling it again with a shorter time shortens the wait.
   */
  stop(graceMs?: number): Promise<void>
  /** Resolves if the pool was deleted: the worker then stops by itself. */
  readonly poolDeleted: Promise<void>
}

/** How often running jobs are looked at (ms): pub/sub may have lost a message. */
const RESYNC_MS = 1000
/** How often the pool's config is read again (ms). */
const CONFIG_BEAT_MS = 5000
/** The tiny generation that tests a replica after failed jobs. */
const TRIAL = { inputs: 'Hello', parameters: {}, seed: 0, maxNewTokens: 4 }
/** The bound of each step of a stop (ms). */
const STOP_STEP_MS = 2000

/**
 * Starts a worker; resolves when it is registered, whether or not its replica is ready yet.
 *
 * @throws `PoolError` `CONFIG` or `INVALID_PARAMS` for bad options, `REDIS_UNAVAILABLE`.
 */
export async function startWorker(options: WorkerOptions): Promise<PoolWorker> {
  const settings = settingsOf(options)
  const pool = parseOrThrow(poolIdSchema, options.pool, 'pool')
  const replicaId = parseOrThrow(
    replicaIdSchema,
    options.replicaId ?? replicaIdOf(options.replicaUrl),
    'replica id',
  )
  const client = createTgiClient({ url: options.replicaUrl, apiKey: options.apiKey })
  const connections = await openConnections(
    options.redisUrl,
    poolKeys(pool, settings.prefix),
    settings.logger,
  )
  try {
    const keys = poolKeys(pool, settings.prefix)
    const config = await openOwnPool(connections.commands, keys)
    const claimed = { replicaId, url: client.url }
    const other = await findOtherAddress(connections.commands, keys, claimed)
    if (other !== undefined && options.replicaId === undefined) throw sharedIdError(claimed, other)
    if (other !== undefined)
      settings.logger.warn(
        { replica_id: replicaId, url: client.url, other_url: other },
        'replica id has another address, so this worker stands by; if these are two replicas, give each its own --replica-id',
      )
    // Known before any job is taken: a drained replica stays drained, whichever worker serves it.
    const firstWish = await readDrain(connections.commands, keys, replicaId)
    return await assemble({ settings, pool, replicaId, client, connections, config, firstWish })
  } catch (error) {
    await client.close()
    connections.close()
    throw error
  }
}

interface Parts {
  readonly settings: WorkerSettings
  readonly pool: string
  readonly replicaId: string
  readonly client: TgiClient
  readonly connections: WorkerConnections
  readonly config: PoolConfig
  readonly firstWish: DrainWish | undefined
}

// Longer than forty lines: the list of what a worker is made of. Its closures join parts that do not know each other.
async function assemble({
  settings,
  pool,
  replicaId,
  client,
  connections,
  ...parts
}: Parts): Promise<PoolWorker> {
  const { lockMs, logger } = settings
  const keys = poolKeys(pool, settings.prefix)
  const workerId = randomUUID()
  const faultLog = createFaultLog(logger)
  const log = createEventLog(connections.writer, keys)
  const queue = openJobQueue(connections.commands, keys)
  const breaker = createBreaker()
  const logBreaker = createBreakerLog(logger, replicaId, breaker)
  const attempts = createRunningAttempts()
  const failedHere = createFailedHere({
    redis: connections.commands,
    keys,
    log,
    replicaId,
    versions: () => session.current.versions,
  })
  const apart = createApart()
  const sentAway = createSentAway()
  const pace = createPace()
  const prefills = watchPrefills(client, () => config.first_token_timeout_ms)
  const solo = createSolo({ busy: () => attempts.busy, onChange: () => gate.update() })
  const onJobEnd = (end: JobEnd) => logJobEnd(logger, end)
  let { config } = parts
  let chat: ChatRenderer = createChatRenderer(client, () => config.chat_leading_marker)
  let lastTokenAt = -Infinity
  let queueDepth: number | undefined
  let lastFault = ''
  let stopping = false

  const consumer = startConsumer({
    connection: connections.queue,
    keys,
    slots: settings.slots,
    lockMs,
    stalledIntervalMs: settings.stalledIntervalMs,
    run,
    maxDeaths: () => config.max_attempts,
    async giveUp(jobId, deaths) {
      try {
        await sealGivenUp({ log, jobId, pool, retentionMs: config.retention_ms, deaths, onJobEnd })
        return true
      } catch (error) {
        faultLog('job whose workers keep dying could not be ended; retrying', error)
        return false
      }
    },
    onError: (error) => faultLog('queue operation failed', error),
  })

  const registration = startRegistration({
    redis: connections.commands,
    keys,
    entry,
    onError: (error) => faultLog('registry update failed', error),
  })

  const drain = createDrainWatch({
    redis: connections.commands,
    keys,
    replicaId,
    first: parts.firstWish,
    graceMs: settings.graceMs,
    onChange: drainChanged,
    onGraceOver: () => {
      if (attempts.busy > 0)
        logger.info(
          { replica_id: replicaId, busy: attempts.busy },
          'drain grace period over; handing jobs back',
        )
      attempts.interruptAll('drain')
    },
    onError: (error) => faultLog('drain request could not be read', error),
  })

  const deletion = createDeletionWatch(connections.commands, keys)

  const gate = createSlotGate({
    consumer,
    breaker,
    ready: () => isServing() && !solo.wanted,
    slots,
    reserved: () => reservedSlots(config, slots()),
    busy: () => attempts.busy,
    onChange: () => {
      logBreaker()
      trial.update()
      void registration.publish()
    },
  })

  const trial = createTrial({
    breaker,
    mayBegin: () => isServing() && !solo.wanted && attempts.busy < slots(),
    generate(signal) {
      // When it ends, a replay that waits to be alone may start.
      const pass = solo.pass()
      const trying = attempts.runOwn(
        ({ signal: interrupted }) =>
          client.generate(TRIAL, {
            signal: AbortSignal.any([signal, interrupted]),
            onToken: () => undefined,
            firstTokenTimeoutMs: config.first_token_timeout_ms,
            tokenTimeoutMs: config.token_timeout_ms,
          }).done,
      )
      return trying.finally(() => pass.leave())
    },
    hasEndedElsewhere: () => failedHere.hasEndedElsewhere(),
    onChange: () => gate.update(),
  })

  const session = startSession({
    probe: (signal) => probeReplica(client, signal),
    pin: () => config.pin,
    lastActivity: () => lastTokenAt,
    isPrefilling: (since) => prefills.isPrefilling(since),
    beatMs: settings.probeMs,
    onChange: sessionChanged,
  })

  const lease = startLease({
    redis: connections.commands,
    keys,
    replicaId,
    workerId,
    leaseMs: settings.leaseMs,
    onStandby: () => logger.info({ replica_id: replicaId }, 'standing by: another worker holds the lease'),
    onGained: () => {
      logger.info({ replica_id: replicaId }, 'lease acquired')
      gate.update()
    },
    onLost: () => {
      logger.warn({ replica_id: replicaId, busy: attempts.busy }, 'lease lost; aborting requests')
      attempts.interruptAll('lease_lost')
      gate.update()
    },
    onError: (error) => faultLog('lease renewal failed', error),
  })

  const sweeper = startSweeper({
    redis: connections.commands,
    prefix: settings.prefix,
    onJobEnd,
    onError: (error) => faultLog('deadline sweep failed', error),
  })

  function isServing(): boolean {
    return !stopping && drain.wish === undefined && lease.held && session.current.state === 'ready'
  }

  function slots(): number {
    const most = session.current.versions?.max_concurrent_requests ?? settings.slots
    return Math.max(1, Math.min(settings.slots, most))
  }

  function state(): ReplicaState {
    if (!lease.held) return 'standby'
    if (stopping || drain.wish !== undefined) return 'draining'
    const { state: seen } = session.current
    if (seen === 'connecting' || (seen === 'ready' && breaker.cause === 'faults')) return 'unhealthy'
    return seen
  }

  function entry(): Omit<ReplicaEntry, 'updated_at'> {
    const { versions } = session.current
    const reason = whyNotReady()
    return {
      replica_id: replicaId,
      worker_id: workerId,
      url: client.url,
      state: state(),
      ...(reason === undefined ? {} : { reason }),
      versions: versions ?? null,
      slots: gate.isOpen ? slots() : 0,
      slots_configured: settings.slots,
      busy: attempts.busy,
      ...(pace.meanMs === undefined ? {} : { job_ms: pace.meanMs, job_count: pace.count }),
      capabilities: ['generate', 'chat'],
    }
  }

  function whyNotReady(): string | undefined {
    const { reason = pauseReason() } = session.current
    if (drain.wish === undefined || stopping) return reason
    const drained = `drained on request; tgi-pool undrain ${replicaId} brings it back`
    return reason === undefined ? drained : `${drained}; ${reason}`
  }

  function pauseReason(): string | undefined {
    if (breaker.cause === undefined) return undefined
    const what = breaker.cause === 'faults' ? `jobs fail on it, last: ${lastFault}` : 'overloaded'
    return `${what}; ${breaker.state === 'open' ? 'paused, then tested again' : 'trying one request'}`
  }

  function sessionChanged(current: SessionState, before: SessionState): void {
    const facts = { replica_id: replicaId, ...current.versions, reason: current.reason }
    const isSame = JSON.stringify({ ...current, reason: 0 }) === JSON.stringify({ ...before, reason: 0 })
    if (current.state === 'ready' && isSame) {
      logger.info(facts, current.reason ?? 'health check answered again')
      void registration.publish()
      return
    }
    if (current.state === 'ready') logger.info(facts, 'replica is ready')
    else logger.warn(facts, `replica is ${current.state}`)
    if (current.state === 'ready') breaker.reset()
    // Another build or model may render chats in another way.
    chat = createChatRenderer(client, () => config.chat_leading_marker)
    gate.update()
  }

  function drainChanged(wish: DrainWish | undefined): void {
    const facts = { replica_id: replicaId, busy: attempts.busy, grace_ms: wish?.graceMs }
    logger.info(facts, wish === undefined ? 'drain ended' : 'drain requested')
    gate.update()
  }

  function recordVerdict(
    jobId: string,
    verdict: ReplicaVerdict,
    failEngine: (nowMs: number) => EngineFailure,
  ): EngineFailure | undefined {
    const now = performance.now()
    const before = breaker.state
    let failure: EngineFailure | undefined
    if (verdict.kind === 'fault') {
      const engine = verdict.engine ? failEngine(now) : undefined
      failure = engine
      failedHere.add(jobId, () => engine?.isVictim === true)
      lastFault = verdict.message
      const suspects = failure === undefined ? [jobId] : [jobId, failure.event]
      breaker.record({ kind: 'fault', keys: verdict.reached ? suspects : [] }, now)
      session.nudge()
    } else {
      if (verdict.kind === 'ok') failedHere.forget(jobId)
      breaker.record(verdict, now)
    }
    logBreaker()
    if (breaker.state !== before || breaker.state === 'open') gate.update()
    return failure
  }

  async function run(job: TakenJob): Promise<Disposition> {
    const { versions } = session.current
    const free = gate.isOpen && attempts.busy < slots()
    if (!free || versions === undefined || !breaker.admit(performance.now())) return { kind: 'refused' }
    const probe = breaker.state === 'half_open' ? breaker.probe : undefined
    const takenAt = performance.now()
    const pass = solo.pass()
    const marks =
      job.deaths >= Math.max(1, config.max_attempts - 2) ? [LAST_LIFE, ...job.failedWith] : job.failedWith
    const mustWait = apart.mustWait(marks)
    const neighbour = apart.enter(mustWait ? [] : marks, takenAt)
    const context = {
      log,
      pool,
      replicaId,
      versions,
      config,
      client: prefills.client,
      chat,
      lockMs,
      hasBuild: (build: Parameters<typeof hasBuild>[2]) => hasBuild(connections.commands, keys, build),
      alone: (signal: AbortSignal) => pass.enter(signal),
      queueDepth: () => queueDepth,
      onToken: (at: number) => {
        lastTokenAt = at
        neighbour.answer()
      },
      onReplica: (verdict: ReplicaVerdict, answered: boolean) =>
        recordVerdict(job.id, verdict, (nowMs) => neighbour.fail(answered, nowMs)),
      onRetry: (error: unknown) => faultLog('event write failed; retrying', error),
    }
    try {
      const report = await attempts
        .run(job.id, async (interrupt) => {
          const sendAway = (why: 'apart' | 'left_to_others') =>
            notBegun(new Interruption(why), context, sentAway.add(job.id, performance.now()))
          if (mustWait) return sendAway('apart')
          if (await failedHere.isForOthers(job.id)) return sendAway('left_to_others')
          return runAttempt(job, context, interrupt)
        })
        // A bug of ours. Do not reject: the queue would drop the job.
        .catch((error: unknown) => {
          faultLog('attempt failed: unexpected fault', error)
          return notBegun(new Interruption('our_fault'), context)
        })
      logAttempt(logger, { job_id: job.id, pool_id: pool, replica_id: replicaId }, report)
      if (report.disposition.kind === 'over' && report.queueTimeMs !== undefined)
        pace.record(performance.now() - takenAt)
      return report.disposition
    } finally {
      neighbour.leave()
      pass.leave()
      if (probe !== undefined) breaker.forget(probe)
      if (breaker.state !== 'closed') gate.update()
    }
  }

  /** Looks at the streams of running jobs. */
  async function resync(): Promise<void> {
    const ids = attempts.ids()
    if (ids.length === 0) return
    const last = await log.lastEntries(ids)
    for (const [index, id] of ids.entries()) if (last[index]?.id === SEAL_ID) attempts.interrupt(id, 'sealed')
  }

  const look = () => void resync().catch((error: unknown) => faultLog('check of running jobs failed', error))
  const beat = setInterval(() => {
    look()
    drain.look()
    if (config.metrics_interval_ms > 0) {
      queue.waiting().then(
        (counts) => {
          queueDepth = counts.interactive + counts.batch
        },
        () => undefined,
      )
    }
  }, RESYNC_MS)
  const refreshConfig = async () => {
    if (await deletion.look()) return
    try {
      const before = config
      config = await openOwnPool(connections.commands, keys)
      if (config.reserved_slots !== before.reserved_slots) gate.update()
    } catch (error) {
      faultLog('pool config could not be read', error)
    }
  }
  connections.commands.on('ready', () => void refreshConfig())
  const configBeat = setInterval(() => void refreshConfig(), CONFIG_BEAT_MS)

  const graceOver = new AbortController()
  let stopped: Promise<void> | undefined

  async function stop(): Promise<void> {
    stopping = true
    gate.update()
    const grace = new Promise((resolve) =>
      graceOver.signal.addEventListener('abort', resolve, { once: true }),
    )
    await Promise.race([attempts.idle(), grace])
    attempts.interruptAll('drain')
    drain.stop()
    for (const timer of [beat, configBeat]) clearInterval(timer)
    gate.stop()
    // A deleted pool must not get a key again.
    const closing = consumer.close(!deletion.isDeleted)
    // Jobs are handed back here. Without Redis they cannot be; their locks run out.
    if (!(await within(closing, STOP_STEP_MS))) connections.close()
    const goodbyes = [
      // A standby first, then the entry; without Redis neither, but nothing of ours goes on.
      lease
        .release()
        .catch((error: unknown) => faultLog('lease release failed', error))
        .then(() => registration.withdraw()),
      session.stop(),
      client.close(),
      sweeper.stop(),
      queue.close(),
      ...(deletion.isDeleted ? [clearEmptyQueues(connections.commands, keys)] : []),
    ]
    for (const goodbye of goodbyes) goodbye.catch((error: unknown) => faultLog('shutdown step failed', error))
    await within(Promise.allSettled(goodbyes), STOP_STEP_MS)
    connections.close()
    if (!(await within(closing, STOP_STEP_MS))) consumer.abandon()
  }

  const worker: PoolWorker = {
    workerId,
    replicaId,
    get state() {
      return state()
    },
    get drift() {
      const { state: seen, reason } = session.current
      return seen === 'drifted' ? reason : undefined
    },
    get busy() {
      return attempts.busy
    },
    stop(graceMs = settings.graceMs) {
      void sleep(graceMs, undefined, { ref: false }).then(() => graceOver.abort())
      stopped ??= stop()
      return stopped
    },
    poolDeleted: deletion.deleted,
  }
  void deletion.deleted.then(() => {
    logger.error({ pool_id: pool, busy: attempts.busy }, 'pool was deleted; stopping')
    return worker.stop(0)
  })

  try {
    await listenForSeals({
      redis: connections.subscriber,
      keys,
      onSealed: (jobId) => attempts.interrupt(jobId, 'sealed'),
      onSubscribed: look,
    })
    await listenForWishes(connections.subscriber, keys, () => {
      drain.look()
      void deletion.look()
    })
    await registration.publish()
    if (drain.wish !== undefined)
      logger.warn(
        { replica_id: replicaId },
        `replica is drained; tgi-pool undrain ${replicaId} brings it back`,
      )
    return worker
  } catch (error) {
    await worker.stop(0)
    throw error
  }
}

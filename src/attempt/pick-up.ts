import type { EventData } from '../contract/event.ts'
import type { Job } from '../contract/job.ts'
import type { PoolConfig } from '../contract/pool-config.ts'
import type { ErrorCode } from '../contract/codes.ts'
import type { Versions } from '../contract/replica-entry.ts'
import { SEAL_ID, nextEpoch } from '../contract/stream-id.ts'
import { deadlineSeal } from '../stream/deadline-sweep.ts'
import { formatEntry } from '../stream/entry.ts'
import type { LogEntry } from '../stream/entry.ts'
import { lastId } from '../stream/event-log.ts'
import type { EventLog } from '../stream/event-log.ts'
import { errorSeal } from '../stream/seal.ts'
import type { TgiClient } from '../tgi/client.ts'
import { TgiError } from '../tgi/error.ts'
import type { ChatRenderer } from './chat.ts'
import { acceptedAtOf } from './foreign-deadlines.ts'
import type { GivenJob, RefusedJob } from './given-job.ts'
import { describeEnd } from './job-end.ts'
import type { JobEnd } from './job-end.ts'
import { readPublished, textOfTokens, viewLog } from './log-view.ts'
import type { LogView, Published } from './log-view.ts'
import { planResume, resumeOf } from './resume.ts'
import type { Resumption, ResumePlan, ResumeRequest } from './resume.ts'
import { countSpent, decideBuildGone, decidePickUp, isFinal } from './policy.ts'

/** What picking up a job takes. */
export interface PickUpRequest {
  readonly log: Pick<EventLog, 'read' | 'write'>
  readonly jobId: string
  readonly given: GivenJob | RefusedJob
  readonly handBacks: number
  /** How many workers died while they had it. */
  readonly deaths: number
  /** When the job was put in its queue, by its producer's clock (ms since 1970). */
  readonly queuedAtMs: number
  readonly pool: string
  readonly replicaId: string
  readonly versions: Versions
  readonly config: PoolConfig
  readonly client: Pick<TgiClient, 'tokenize'>
  readonly chat: ChatRenderer
  /** Whether a replica of the pool runs the build, or did until a moment ago. */
  readonly hasBuild: (build: Published['by']) => Promise<boolean>
  readonly signal: AbortSignal
}

/** An attempt that may begin: writing its `started` is the first thing it does. */
export interface PickedUp {
  readonly kind: 'begun'
  readonly job: Job
  readonly epoch: number
  readonly attempt: number
  /** The job's own. */
  readonly seed: number
  readonly maxNewTokens: number
  /** ms since 1970, by Redis's clock, like all times here. */
  readonly acceptedAt: number
  readonly startedAt: number
  readonly firstStartedAt: number
  readonly deadlineAt: number
  /** Every entry so far, all of them in Redis. */
  readonly history: readonly LogEntry[]
  readonly started: EventData['started']
  /** How many tokens are published. */
  readonly tokens: number
  /** When the first of them came. */
  readonly firstTokenAt: number | undefined
  /** How long after its request (ms); unknown also if an older worker published it. */
  readonly ttftMs: number | undefined
  /** How it goes on with them. */
  readonly resumption: Resumption | undefined
}

/** `over`: nothing is left to do; `end` is set if this pick-up ended the job. `elsewhere`: another replica must run it. */
export type PickUp =
  | PickedUp
  | { readonly kind: 'over'; readonly end?: JobEnd }
  | { readonly kind: 'elsewhere' }

/**
 * Reads a job's stream and decides what is left to do; ends the job where that is all. When another writer comes first
 * (a cancel, a sweep), it reads again.
 *
 * @throws `TgiError` where the replica is asked how to go on and does not answer; the signal's reason.
 */
export async function pickUp(request: PickUpRequest): Promise<PickUp> {
  const { log, jobId } = request
  for (;;) {
    const { entries, nowMs, nowUs } = await log.read(jobId)
    const view = viewLog(entries)
    if (view.sealed) return { kind: 'over' }
    const decision = await decide(request, { entries, view, nowMs, nowUs })
    if (decision.kind !== 'seal') return decision
    const { written } = await log.write({
      jobId,
      expect: lastId(entries),
      entries: [decision.entry],
      deadlineAt: nowMs,
      retentionMs: request.config.retention_ms,
      priority: request.given.kind === 'job' ? request.given.job.priority : undefined,
    })
    if (!written) continue
    return {
      kind: 'over',
      end: describeEnd(jobId, request.pool, [...entries, decision.entry], nowMs),
    }
  }
}

/** A stream as it was read. */
interface Seen {
  readonly entries: readonly LogEntry[]
  readonly view: LogView
  readonly nowMs: number
  readonly nowUs: number
}

/** All that is known of a job that may go on. */
interface Facts extends Seen, Omit<GivenJob, 'kind'> {
  readonly acceptedAt: number
  readonly deadlineAt: number
}

/** The terminal event of a job that cannot go on. */
interface Ending {
  readonly code: ErrorCode
  readonly message: string
}

type Decision =
  | PickedUp
  | { readonly kind: 'elsewhere' }
  | { readonly kind: 'seal'; readonly entry: LogEntry }

async function decide(request: PickUpRequest, seen: Seen): Promise<Decision> {
  const { config, given, pool, replicaId } = request
  const { view, nowMs } = seen
  // Without `queued` it is a plain BullMQ producer's job: its time counts from when it was added.
  const acceptedAt =
    view.queued?.accepted_at ?? acceptedAtOf(request.queuedAtMs, view.firstStartedAt ?? nowMs)
  const details = { pool_id: pool, replica_id: replicaId, tokens_out: view.tokens }
  if (given.kind === 'refused')
    return seal(errorSeal('INVALID_PARAMS', { ...details, message: given.message }))
  const { job, budget, seed } = given
  const deadlineAt = view.queued?.deadline_at ?? acceptedAt + budget.deadlineMs
  const last = seen.entries.at(-1)
  if (nowMs >= deadlineAt) return seal(deadlineSeal(last, pool))
  const ended = decidePickUp({
    tokens: view.tokens,
    spent: countSpent({ ...request, attempts: view.attempts }),
    maxAttempts: config.max_attempts,
    onInterrupt: job.on_interrupt,
    lastReplica: view.lastReplica,
  })
  if (ended !== undefined) {
    const { code, message } = ended
    return seal(errorSeal(code, { ...details, attempt: view.attempts, message }))
  }
  const facts = { ...seen, job, budget, seed, acceptedAt, deadlineAt }
  return view.tokens === 0 ? begin(request, facts) : resume(request, facts)
}

/** An answer of which a part is published. */
async function resume(request: PickUpRequest, facts: Facts): Promise<Decision> {
  const { job, budget, seed, view, entries } = facts
  const published = readPublished(entries)
  const plan = await planOrRefusal({
    job,
    prompt: async () => job.inputs ?? request.chat.render(job.messages ?? [], request.signal),
    published,
    seed,
    maxNewTokens: budget.maxNewTokens,
    versions: request.versions,
    client: request.client,
    signal: request.signal,
  })
  if (plan.kind === 'request') return begin(request, facts, plan, published)
  if (plan.kind === 'refused') return seal(wontGoOn(request, view, plan))
  if (plan.kind === 'complete') return seal(completeEnd(facts, published, plan.finishReason))
  if (await request.hasBuild(plan.build)) return { kind: 'elsewhere' }
  return seal(wontGoOn(request, view, decideBuildGone(plan.build)))
}

/** How to continue, or why this replica refuses a prompt that another one accepted. */
async function planOrRefusal(
  request: ResumeRequest,
): Promise<ResumePlan | ({ readonly kind: 'refused' } & Ending)> {
  try {
    return await planResume(request)
  } catch (error) {
    if (!(error instanceof TgiError) || !isFinal(error.kind)) throw error
    return { kind: 'refused', code: 'WORKER_RESET', message: error.message }
  }
}

function wontGoOn(request: PickUpRequest, view: LogView, { code, message }: Ending): LogEntry {
  return errorSeal(code, {
    pool_id: request.pool,
    replica_id: request.replicaId,
    tokens_out: view.tokens,
    attempt: view.attempts,
    message,
  })
}

/** The end of an answer that is complete already. Its replica died before it reported the end and its own decoding. */
function completeEnd(
  { view, nowMs, acceptedAt, seed }: Facts,
  { tokens, seam }: Published,
  finishReason: EventData['end']['finish_reason'],
): LogEntry {
  return formatEntry(SEAL_ID, 'end', {
    finish_reason: finishReason,
    tokens_out: tokens.length,
    queue_time_ms: Math.max(0, (view.firstStartedAt ?? nowMs) - acceptedAt),
    first_token_ms: tokens[0]?.first_token_ms ?? 0,
    ...(tokens[0]?.ttft_ms === undefined ? {} : { ttft_ms: tokens[0].ttft_ms }),
    seed,
    text: textOfTokens(tokens),
    attempts: view.attempts,
    exact: seam === 0,
  })
}

function begin(
  request: PickUpRequest,
  facts: Facts,
  resumption?: Resumption,
  published?: Published,
): PickedUp {
  const { versions } = request
  const { job, budget, seed, entries, view, nowMs, acceptedAt, deadlineAt } = facts
  const epoch = nextEpoch(view.lastEpoch, facts.nowUs)
  const attempt = view.attempts + 1
  const started: EventData['started'] = {
    attempt,
    engine: 'tgi',
    engine_version: versions.engine_version,
    pool_id: request.pool,
    replica_id: request.replicaId,
    model_id: versions.model_id,
    seed: resumption?.seed ?? seed,
    queue_time_ms: Math.max(0, nowMs - acceptedAt),
    determinism: job.determinism ?? 'best_effort',
    next_token: view.tokens,
    ...(resumption === undefined ? {} : { resume: resumeOf(resumption) }),
    ...(job.correlation_id === undefined ? {} : { correlation_id: job.correlation_id }),
    // The stream's first entry has it: `queued`, or this where a plain BullMQ producer wrote none.
    ...(entries.length > 0 || job.retention_ms === undefined ? {} : { retention_ms: job.retention_ms }),
  }
  const { first_token_ms: firstTokenMs, ttft_ms: ttftMs } = published?.tokens[0] ?? {}
  return {
    kind: 'begun',
    job,
    epoch,
    attempt,
    seed,
    maxNewTokens: budget.maxNewTokens,
    acceptedAt,
    startedAt: nowMs,
    firstStartedAt: view.firstStartedAt ?? nowMs,
    deadlineAt,
    history: entries,
    started,
    tokens: view.tokens,
    firstTokenAt: firstTokenMs === undefined ? undefined : acceptedAt + firstTokenMs,
    ttftMs,
    resumption,
  }
}

function seal(entry: LogEntry): Decision {
  return { kind: 'seal', entry }
}

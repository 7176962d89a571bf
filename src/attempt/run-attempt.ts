/**
 * One attempt at one job, in order: pick up → prompt → stream → settle. Each step ends in the next one or in a
 * disposition; nothing ends in silence. The request goes out while `started` is on its way into the stream, or earlier
 * (head-start.ts): what comes back waits behind it, and when it is refused the socket is closed.
 *
 * Past 250 lines: the steps share one clock, one count of tokens and one writer, and are read as one story.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { ErrorCode } from '../contract/codes.ts'
import type { EventData } from '../contract/event.ts'
import type { PoolConfig } from '../contract/pool-config.ts'
import type { Versions } from '../contract/replica-entry.ts'
import type { Disposition, TakenJob } from '../queue/consumer.ts'
import { within } from '../runtime/within.ts'
import { createAttemptWriter } from '../stream/attempt-writer.ts'
import type { AttemptWriter, WriterOutcome } from '../stream/attempt-writer.ts'
import type { EventLog } from '../stream/event-log.ts'
import { errorData } from '../stream/seal.ts'
import type { TgiClient } from '../tgi/client.ts'
import type { GenerationEnd, TgiToken } from '../tgi/answer.ts'
import { TgiError } from '../tgi/error.ts'
import type { Generation } from '../tgi/generate.ts'
import type { ChatRenderer } from './chat.ts'
import { formatToken } from './format-token.ts'
import type { FirstTokenTimes } from './format-token.ts'
import { readGivenJob } from './given-job.ts'
import { startEarly } from './head-start.ts'
import type { HeadStart } from './head-start.ts'
import { Divergence, Interruption } from './interruption.ts'
import type { JobEnd } from './job-end.ts'
import { pickUp } from './pick-up.ts'
import type { PickUpRequest, PickedUp } from './pick-up.ts'
import { countSpent, decide } from './policy.ts'
import type { Decision, ReplicaVerdict } from './policy.ts'

/** A fault of the engine that may have failed other requests as well. */
interface SharedFailure {
  /** The mark that the job carries from now on, in `TakenJob.failedWith`. */
  readonly mark: string
  /** Another job is the suspect, as far as is known so far. */
  readonly isVictim: boolean
}

/** What attempts on one replica share. */
export interface AttemptContext {
  readonly log: EventLog
  readonly pool: string
  readonly replicaId: string
  readonly versions: Versions
  readonly config: PoolConfig
  readonly client: TgiClient
  readonly chat: ChatRenderer
  /** Whether a replica of the pool runs the build, or did until a moment ago. */
  readonly hasBuild: PickUpRequest['hasBuild']
  /** Resolves when no other request of this worker is open, nor will be until this attempt is over. */
  readonly alone: (signal: AbortSignal) => Promise<void>
  /** How many jobs wait now, as far as is known. */
  readonly queueDepth: () => number | undefined
  /** How long a fenced job stays away (ms). */
  readonly lockMs: number
  /** A token came (performance.now()). */
  readonly onToken: (at: number) => void
  /**
   * Called with the attempt's verdict on the replica.
   *
   * @param answered whether its request has received a token.
   * @returns if the engine failed, what is known of the other requests that failed with it.
   */
  readonly onReplica: (verdict: ReplicaVerdict, answered: boolean) => SharedFailure | undefined
  /** A fault of Redis that is being waited out. */
  readonly onRetry: (error: unknown) => void
}

/** What became of an attempt, for the log. */
export interface AttemptReport {
  readonly disposition: Disposition
  /** `end`, an error code, or the kind of the fault or interruption. */
  readonly outcome: string
  /** This attempt, or its pick-up, wrote the terminal event. */
  readonly sealed: boolean
  /** The code of the `error` that it wrote. */
  readonly code?: ErrorCode | undefined
  /** The replica's fault, if any. */
  readonly fault?: string | undefined
  readonly attempt: number | undefined
  /** Known once the answer is complete. */
  readonly tokensIn?: number | undefined
  readonly tokensOut: number
  readonly queueTimeMs: number | undefined
  readonly firstTokenMs: number | undefined
  readonly ttftMs?: number | undefined
  readonly decodeTimeMs: number | undefined
  /** From acceptance to the attempt's end. */
  readonly endToEndMs?: number | undefined
  readonly message?: string | undefined
  readonly correlationId?: string | undefined
}

/**
 * Runs one attempt to its disposition.
 *
 * @param interrupt aborts it with an {@link Interruption}; the upstream socket is closed at once and no write is
 * waited for.
 */
export async function runAttempt(
  job: TakenJob,
  context: AttemptContext,
  interrupt: AbortController,
): Promise<AttemptReport> {
  const lost = () => interrupt.abort(new Interruption('lock_lost'))
  job.lockLost.addEventListener('abort', lost, { once: true })
  if (job.lockLost.aborted) lost()
  const { signal } = interrupt
  const given = readGivenJob(job.id, job.body, context.config)
  const early = job.isNew && given.kind === 'job' ? startEarly(given, context, signal) : undefined
  try {
    const { id: jobId, handBacks, deaths, queuedAtMs } = job
    const begun = await pickUp({ ...context, jobId, given, handBacks, deaths, queuedAtMs, signal })
    if (begun.kind === 'over') return endedAtPickUp(begun.end)
    if (begun.kind === 'elsewhere') return notBegun(new Interruption('elsewhere'), context)
    // Another request is wanted: this one is closed before that one is opened.
    if (begun.resumption !== undefined) early?.drop()
    return await new Attempt(job, begun, context, interrupt, early).run()
  } catch (error) {
    return notBegun(error, context)
  } finally {
    early?.drop()
    job.lockLost.removeEventListener('abort', lost)
  }
}

/** Reports an attempt that wrote no `started`: it was interrupted, its replica could not prepare a continuation, or Redis failed. */
export function notBegun(
  cause: unknown,
  context: Pick<AttemptContext, 'lockMs' | 'config' | 'onReplica'>,
  sentAwayAgain = false,
): AttemptReport {
  const known = cause instanceof Interruption || cause instanceof TgiError
  const decision = decide(known ? cause : new Interruption('our_fault'), {
    begun: false,
    tokens: 0,
    spent: 0,
    maxAttempts: context.config.max_attempts,
    onInterrupt: undefined,
    lockMs: context.lockMs,
    sentAwayAgain,
  })
  if (decision.replica !== undefined) context.onReplica(decision.replica, false)
  if (decision.kind === 'seal')
    throw new Error(`a job was sealed ${decision.code} before it began`, { cause })
  const disposition: Disposition =
    decision.kind === 'over'
      ? { kind: 'over' }
      : { kind: 'back', delayMs: decision.delayMs, attempt: decision.attempt }
  const { outcome, message, replica } = decision
  const fault = replica?.kind === 'fault' ? replica.message : undefined
  return { ...NOTHING_DONE, disposition, outcome, message, fault }
}

function endedAtPickUp(end: JobEnd | undefined): AttemptReport {
  const report = { ...NOTHING_DONE, disposition: { kind: 'over' } } as const
  if (end === undefined) return { ...report, outcome: 'sealed' }
  return {
    ...report,
    outcome: end.code ?? 'end',
    sealed: true,
    code: end.code,
    message: end.reason,
    attempt: end.attempts,
    tokensIn: end.tokens_in,
    tokensOut: end.tokens_out ?? 0,
    queueTimeMs: end.queue_time_ms,
    firstTokenMs: end.first_token_ms,
    ttftMs: end.ttft_ms,
    decodeTimeMs: end.decode_time_ms,
    endToEndMs: end.end_to_end_ms,
    correlationId: end.correlation_id,
  }
}

const NOTHING_DONE = {
  sealed: false,
  attempt: undefined,
  tokensOut: 0,
  queueTimeMs: undefined,
  firstTokenMs: undefined,
  decodeTimeMs: undefined,
} as const

/** How long an attempt that is given back waits for its last write (ms). */
const FLUSH_MS = 500

/** How long an attempt waits for the faults of requests that failed together with it (ms). */
const SHARED_MS = 50

/** An answer without an interruption. */
const WHOLE = { seam: 0, repeat: [], kept: '' }

/** What a report adds to the attempt's own numbers. */
type Facts = Pick<AttemptReport, 'outcome' | 'code' | 'message' | 'fault' | 'tokensIn'>

/** An attempt that writes `started`. */
class Attempt {
  private readonly job: TakenJob
  private readonly begun: PickedUp
  private readonly context: AttemptContext
  private readonly interrupt: AbortController
  private readonly writer: AttemptWriter
  /** Redis's clock at the moment this object was made, to the ms; the local clock goes on from there. */
  private readonly clockBase: number
  /** The request that is out already; it asks for the answer from its first token on. */
  private early: HeadStart | undefined
  private generation: Generation | undefined
  /** Published, by this attempt and those before. */
  private tokens: number
  /** How many of the tokens that were there have come again. */
  private repeated = 0
  /** When this attempt's request was made (performance.now()). */
  private requestedAt = 0
  private firstTokenAt: number | undefined
  private ttftMs: number | undefined
  private lastTokenAt: number | undefined
  private metricsAt: number
  /** This attempt's own request has received a token, new or repeated. */
  private answered = false
  /** The attempt is over, so a finding of the writer no longer interrupts it. */
  private settled = false
  private outcome: WriterOutcome | undefined

  constructor(
    job: TakenJob,
    begun: PickedUp,
    context: AttemptContext,
    interrupt: AbortController,
    early: HeadStart | undefined,
  ) {
    this.job = job
    this.early = begun.resumption === undefined ? early : undefined
    this.begun = begun
    this.context = context
    this.interrupt = interrupt
    this.clockBase = begun.startedAt - performance.now()
    this.metricsAt = performance.now()
    this.tokens = begun.tokens
    this.firstTokenAt = begun.firstTokenAt
    this.ttftMs = begun.ttftMs
    this.writer = createAttemptWriter({
      log: context.log,
      jobId: job.id,
      epoch: begun.epoch,
      history: begun.history,
      deadlineAt: begun.deadlineAt,
      retentionMs: context.config.retention_ms,
      priority: begun.job.priority,
      confirmLock: () => job.confirmLock(),
      onPressure: (full) => (full ? this.generation?.pause() : this.generation?.resume()),
      onRetry: context.onRetry,
    })
    this.writer.append('started', JSON.stringify(begun.started))
  }

  /** Redis's clock, as well as this process knows it (ms since 1970). */
  private now(): number {
    return this.clockBase + performance.now()
  }

  async run(): Promise<AttemptReport> {
    const { interrupt, writer } = this
    const timer = setTimeout(
      () => interrupt.abort(new Interruption('deadline')),
      Math.min(Math.max(0, this.begun.deadlineAt - this.now()), 2 ** 31 - 1),
    )
    // The writer learns first when the job is over or another attempt has begun.
    void writer.outcome.then((outcome) => {
      this.outcome = outcome
      if (this.settled) return
      if (outcome === 'sealed') interrupt.abort(new Interruption('sealed'))
      if (outcome === 'fenced') interrupt.abort(new Interruption(writer.begun ? 'fenced' : 'overtaken'))
      if (outcome === 'lost') interrupt.abort(new Interruption('lock_lost'))
    })
    try {
      return await this.stream().then(
        (end) => this.finish(end),
        (error: unknown) => this.fail(error),
      )
    } finally {
      clearTimeout(timer)
      writer.abort()
    }
  }

  private async stream(): Promise<GenerationEnd> {
    const { context, begun, interrupt } = this
    const { inputs, messages } = begun.job
    const { resumption } = begun
    const prompt =
      resumption?.prompt ?? inputs ?? (await context.chat.render(messages ?? [], interrupt.signal))
    const end = await this.request(prompt).catch(async (error: unknown) => {
      if (!(error instanceof Divergence)) throw error
      // What ran beside it may have changed a token, here or when it was published: once more, alone.
      await context.alone(interrupt.signal)
      this.repeated = 0
      return this.request(prompt)
    })
    const own = resumption === undefined || resumption.seam === 0
    const known = resumption?.tokensIn ?? (own ? end.tokensIn : undefined)
    if (known !== undefined || inputs === undefined) return { ...end, tokensIn: known }
    // Cut off by us, or asked for with a part of the answer, so the replica never reported how long the prompt was.
    const counted = await context.client
      .tokenize(inputs, { signal: interrupt.signal, timeoutMs: 1000 })
      .catch(() => undefined)
    return { ...end, tokensIn: counted?.length }
  }

  /** One request, to its end. @throws {@link Divergence} when it does not repeat what is published. */
  private async request(prompt: string): Promise<GenerationEnd> {
    const { context, begun, interrupt } = this
    const { parameters } = begun.job
    const { seed, maxNewTokens } = begun.resumption ?? begun
    const onToken = (token: TgiToken) => this.publish(token)
    this.requestedAt = this.early?.requestedAt ?? performance.now()
    this.generation =
      this.early?.take(onToken) ??
      context.client.generate(
        { inputs: prompt, parameters, seed, maxNewTokens },
        {
          signal: interrupt.signal,
          onToken,
          firstTokenTimeoutMs: context.config.first_token_timeout_ms,
          tokenTimeoutMs: context.config.token_timeout_ms,
        },
      )
    this.early = undefined
    const end = await this.generation.done
    const { seam, repeat } = begun.resumption ?? WHOLE
    if (this.repeated < repeat.length) throw new Divergence(seam + this.repeated)
    return end
  }

  private publish(token: TgiToken): void {
    const localAt = performance.now()
    this.context.onToken(localAt)
    this.answered = true
    if (this.repeats(token)) return
    const at = this.clockBase + localAt
    this.firstTokenAt ??= at
    this.lastTokenAt = at
    const data = formatToken(token, this.tokens, this.tokens === 0 ? this.firstTimes(localAt) : undefined)
    this.tokens += 1
    this.writer.append('token', data)
    if (this.context.config.metrics_interval_ms > 0) this.publishMetrics()
  }

  /** Whether a token is one of those that are published already. @throws {@link Divergence} */
  private repeats(token: TgiToken): boolean {
    const { resumption } = this.begun
    const expected = resumption?.repeat[this.repeated]
    if (resumption === undefined || expected === undefined) return false
    if (token.id !== expected) throw new Divergence(resumption.seam + this.repeated)
    this.repeated += 1
    return true
  }

  /** Takes the times of the job's first token. */
  private firstTimes(localAt: number): FirstTokenTimes {
    this.ttftMs = Math.round(localAt - this.requestedAt)
    return { first_token_ms: this.firstTokenMs(this.clockBase + localAt), ttft_ms: this.ttftMs }
  }

  private firstTokenMs(at: number): number {
    return Math.max(0, Math.round(at - this.begun.acceptedAt))
  }

  private publishMetrics(): void {
    const now = performance.now()
    if (now - this.metricsAt < this.context.config.metrics_interval_ms) return
    this.metricsAt = now
    const at = this.now()
    const queueDepth = this.context.queueDepth()
    const seconds = (at - (this.firstTokenAt ?? at)) / 1000
    const data: EventData['metrics'] = {
      tokens_out: this.tokens,
      elapsed_ms: Math.round(at - this.begun.startedAt),
      time_budget_remaining_ms: Math.max(0, Math.round(this.begun.deadlineAt - at)),
    }
    if (seconds > 0) data.tokens_per_second = Math.round(((this.tokens - 1) / seconds) * 10) / 10
    if (queueDepth !== undefined) data.queue_depth = queueDepth
    this.writer.append('metrics', JSON.stringify(data))
  }

  private async finish(end: GenerationEnd): Promise<AttemptReport> {
    this.settled = true
    this.context.onReplica({ kind: 'ok' }, true)
    const { begun } = this
    const { seam, kept } = begun.resumption ?? WHOLE
    const at = this.now()
    const data: EventData['end'] = {
      finish_reason: end.finishReason,
      tokens_out: this.tokens,
      queue_time_ms: Math.max(0, begun.firstStartedAt - begun.acceptedAt),
      first_token_ms: this.firstTokenMs(this.firstTokenAt ?? at),
      seed: begun.seed,
      text: kept + end.text,
      attempts: begun.attempt,
      exact: seam === 0,
    }
    if (this.ttftMs !== undefined) data.ttft_ms = this.ttftMs
    const decodeMs = this.decodeMs()
    if (decodeMs !== undefined) data.decode_time_ms = decodeMs
    if (end.tokensIn !== undefined) data.tokens_in = end.tokensIn
    const text = JSON.stringify(data)
    this.writer.seal('end', text)
    return this.reportSeal(text, { outcome: 'end', tokensIn: data.tokens_in })
  }

  private async fail(cause: unknown): Promise<AttemptReport> {
    this.settled = true
    const first = this.decide(cause)
    const { replica } = first
    const shared = replica && this.context.onReplica(replica, this.answered)
    if (shared !== undefined && this.answered) await sleep(SHARED_MS)
    if (await this.isOver(first)) return this.report({ kind: 'over' }, { outcome: 'sealed' })
    // Decide again: more of the attempt may have been written, and others may have failed with it.
    const decision = this.decide(cause, shared?.isVictim)
    const { message } = decision
    const fault = replica?.kind === 'fault' ? replica.message : undefined
    if (decision.kind === 'seal') return this.sealError(decision.code, message, fault)
    this.writer.abort()
    const { outcome } = decision
    if (decision.kind === 'over') return this.report({ kind: 'over' }, { outcome, message })
    const { delayMs, attempt } = decision
    return this.report(
      { kind: 'back', delayMs, attempt, handBacks: this.handBacks(), failedWith: shared?.mark },
      { outcome, message, fault },
    )
  }

  /** How often the job was handed back before: at most once an attempt, whatever the queue says. */
  private handBacks(): number {
    return Math.min(this.job.handBacks, this.begun.attempt - 1)
  }

  private decide(cause: unknown, isVictim = false): Decision {
    const { job, begun, context } = this
    return decide(cause, {
      begun: this.writer.begun,
      tokens: this.tokens,
      // If this attempt fails, it is one more, whatever the others were.
      spent: countSpent({ attempts: begun.attempt, handBacks: this.handBacks(), deaths: job.deaths + 1 }),
      maxAttempts: context.config.max_attempts,
      onInterrupt: begun.job.on_interrupt,
      lockMs: context.lockMs,
      isVictim,
    })
  }

  private async sealError(code: ErrorCode, message: string, fault?: string): Promise<AttemptReport> {
    const data = errorData(code, {
      message,
      pool_id: this.context.pool,
      replica_id: this.context.replicaId,
      tokens_out: this.tokens,
      attempt: this.begun.attempt,
    })
    const text = JSON.stringify(data)
    this.writer.seal('error', text)
    return this.reportSeal(text, { outcome: code, code, message, fault })
  }

  /** Waits for the seal and reports whose it is: another process may have ended the job in the meantime. */
  private async reportSeal(data: string, what: Facts): Promise<AttemptReport> {
    const disposition = await this.sealed()
    if (disposition.kind === 'over' && (await this.isOwnSeal(data)))
      return this.report(disposition, what, true)
    const outcome = disposition.kind === 'over' ? 'sealed' : 'lock_lost'
    return this.report(disposition, { ...what, outcome, code: undefined })
  }

  private report(disposition: Disposition, what: Facts, sealed = false): AttemptReport {
    return {
      ...what,
      disposition,
      sealed,
      attempt: this.begun.attempt,
      tokensOut: this.tokens,
      queueTimeMs: Math.max(0, this.begun.startedAt - this.begun.acceptedAt),
      firstTokenMs: this.firstTokenAt === undefined ? undefined : this.firstTokenMs(this.firstTokenAt),
      ttftMs: this.ttftMs,
      decodeTimeMs: this.decodeMs(),
      endToEndMs: Math.max(0, Math.round(this.now() - this.begun.acceptedAt)),
      correlationId: this.begun.job.correlation_id,
    }
  }

  /** Whether the stream's seal is this attempt's own: after a refusal it may be another's, or the answer to ours was lost. */
  private async isOwnSeal(data: string): Promise<boolean> {
    if (this.writer.pending === 0) return true
    const [last] = await this.context.log.lastEntries([this.job.id]).catch(() => [])
    return last?.data === data
  }

  /** From the first token to the last, as far as this attempt has seen the last one. */
  private decodeMs(): number | undefined {
    const { firstTokenAt, lastTokenAt } = this
    if (firstTokenAt === undefined || lastTokenAt === undefined) return undefined
    return Math.max(0, Math.round(lastTokenAt - firstTokenAt))
  }

  /** Waits briefly for received tokens to be written, so the next attempt continues after them. True if the job is over. */
  private async isOver(decision: Decision): Promise<boolean> {
    if (decision.kind === 'over' || (decision.kind === 'back' && decision.fenced === true)) return false
    await within(this.writer.flushed(), FLUSH_MS)
    return this.outcome === 'sealed'
  }

  /** Waits until the seal is written; gives up only with the lock. */
  private async sealed(): Promise<Disposition> {
    const { lockLost } = this.job
    const abort = () => this.writer.abort()
    lockLost.addEventListener('abort', abort, { once: true })
    if (lockLost.aborted) abort()
    const result = await this.writer.outcome
    lockLost.removeEventListener('abort', abort)
    if (result === 'sealed') return { kind: 'over' }
    return { kind: 'back', delayMs: this.context.lockMs, attempt: this.writer.begun ? 'spent' : 'not_begun' }
  }
}

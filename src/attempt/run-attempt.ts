/**
 * One attempt at one job, in order: pick up → prompt → stream → settle. Each step ends in the next one or in a
 * disposition; nothing ends in silence. The request goes out while `started` is on its way into the stream, or earlier
 * (head-start.ts): what comes back waits behind it, and when it is refused the socket is closed.
 *
 * Past 250 lines: the steps share one clock, one count of tokens and one writer, and are read as one story.
 */
import type { EventData } from '../contract/event.ts'
import type { PoolConfig } from '../contract/pool-config.ts'
import type { Versions } from '../contract/replica-entry.ts'
import type { Disposition, TakenJob } from '../queue/consumer.ts'
import { within } from '../runtime/within.ts'
import { createAttemptWriter } from '../stream/attempt-writer.ts'
import type { AttemptWriter } from '../stream/attempt-writer.ts'
import type { EventLog } from '../stream/event-log.ts'
import { errorData } from '../stream/seal.ts'
import type { TgiClient } from '../tgi/client.ts'
import type { GenerationEnd, TgiToken } from '../tgi/answer.ts'
import { TgiError } from '../tgi/error.ts'
import type { Generation } from '../tgi/generate.ts'
import type { ChatRenderer } from './chat.ts'
import { formatToken } from './format-token.ts'
import { readGivenJob } from './given-job.ts'
import { startEarly } from './head-start.ts'
import type { HeadStart } from './head-start.ts'
import { Divergence, Interruption } from './interruption.ts'
import { pickUp } from './pick-up.ts'
import type { PickUpRequest, PickedUp } from './pick-up.ts'
import { verdictOn } from './verdict.ts'
import type { Verdict } from './verdict.ts'

/** What attempts on one replica share. */
export interface AttemptContext {
  readonly log: EventLog
  readonly pool: string
  readonly replicaId: string
  readonly versions: Versions
  readonly config: PoolConfig
  readonly client: TgiClient
  readonly chat: ChatRenderer
  /** Whether some replica of the pool, whatever its state, runs a build. */
  readonly hasBuild: PickUpRequest['hasBuild']
  /** Resolves when no other request of this worker is open, nor will be until this attempt is over. */
  readonly alone: (signal: AbortSignal) => Promise<void>
  /** How many jobs wait now, as far as is known. */
  readonly queueDepth: () => number | undefined
  /** How long a fenced job stays away (ms). */
  readonly lockMs: number
  /** A token came (performance.now()). */
  readonly onToken: (at: number) => void
  /** What the attempt says of the replica. */
  readonly onReplica: (result: 'ok' | 'fault' | 'overloaded') => void
  /** A fault of Redis that is being waited out. */
  readonly onRetry: (error: unknown) => void
}

/** What became of an attempt, for the log. */
export interface AttemptReport {
  readonly disposition: Disposition
  /** `over` before it began, `end`, an error code, `sealed` by somebody else, or `back`. */
  readonly outcome: string
  readonly attempt: number | undefined
  readonly tokensOut: number
  readonly queueTimeMs: number | undefined
  readonly firstTokenMs: number | undefined
  readonly decodeTimeMs: number | undefined
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
    const begun = await pickUp({ ...context, jobId: job.id, given, handBacks: job.handBacks, signal })
    if (begun.kind === 'over') return notBegun({ kind: 'over' }, 'over')
    if (begun.kind === 'elsewhere') return notBegun(ELSEWHERE, 'elsewhere')
    // Another request is wanted: this one is closed before that one is opened.
    if (begun.resumption !== undefined) early?.drop()
    return await new Attempt(job, begun, context, interrupt, early).run()
  } catch (error) {
    return giveBack(error, context)
  } finally {
    early?.drop()
    job.lockLost.removeEventListener('abort', lost)
  }
}

/** Another replica has to go on: it may be busy with something else for a while. */
const ELSEWHERE = { kind: 'back', delayMs: 250, counts: false } as const

/** How long a job waits whose replica did not say how to go on (ms). */
const NOT_BEGUN_MS = 500

/** What stopped the job from being picked up: an interruption, or a replica that did not say how to go on. */
function giveBack(error: unknown, context: AttemptContext): AttemptReport {
  if (!(error instanceof Interruption || error instanceof TgiError)) throw error
  const verdict = verdictOn(error, { mayNotGoOn: false, lockMs: context.lockMs, attempt: 1 })
  if (verdict.replica !== undefined) context.onReplica(verdict.replica)
  if (verdict.kind === 'over') return notBegun({ kind: 'over' }, verdict.outcome, verdict.message)
  // Nothing was begun that would count, and so end it: it is not to come again at once.
  const delayMs = error instanceof Interruption && verdict.kind === 'back' ? verdict.delayMs : NOT_BEGUN_MS
  return notBegun(
    { kind: 'back', delayMs, counts: verdict.kind === 'back' && verdict.counts },
    'back',
    verdict.message,
  )
}

function notBegun(disposition: Disposition, outcome: string, message?: string): AttemptReport {
  return {
    disposition,
    outcome,
    message,
    attempt: undefined,
    tokensOut: 0,
    queueTimeMs: undefined,
    firstTokenMs: undefined,
    decodeTimeMs: undefined,
  }
}

/** How long an attempt that is given back waits for its last write (ms). */
const FLUSH_MS = 500

/** An answer that nobody interrupted. */
const WHOLE = { seam: 0, repeat: [], kept: '' }

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
  private firstTokenAt: number | undefined
  private lastTokenAt: number | undefined
  private metricsAt: number
  /** The stream is over; what the writer says is no interruption any more. */
  private settled = false

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
    this.writer = createAttemptWriter({
      log: context.log,
      jobId: job.id,
      epoch: begun.epoch,
      history: begun.history,
      deadlineAt: begun.deadlineAt,
      retentionMs: context.config.retention_ms,
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
    // Cut off by us, or asked for with a part of the answer, so the replica never told how long the prompt was.
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
    if (this.repeats(token)) return
    const at = this.clockBase + localAt
    this.firstTokenAt ??= at
    this.lastTokenAt = at
    const data = formatToken(token, this.tokens, this.tokens === 0 ? this.firstTokenMs(at) : undefined)
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
    this.context.onReplica('ok')
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
    const decodeMs = this.decodeMs()
    if (decodeMs !== undefined) data.decode_time_ms = decodeMs
    if (end.tokensIn !== undefined) data.tokens_in = end.tokensIn
    return this.settle({ kind: 'seal', event: 'end', data: JSON.stringify(data) }, 'end')
  }

  private async fail(error: unknown): Promise<AttemptReport> {
    const verdict = verdictOn(error, {
      mayNotGoOn: this.tokens > 0 && this.begun.job.on_interrupt === 'fail',
      lockMs: this.context.lockMs,
      attempt: this.begun.attempt,
    })
    if (verdict.replica !== undefined) this.context.onReplica(verdict.replica)
    if (verdict.kind !== 'seal') return this.settle(verdict, verdict.outcome, verdict.message)
    const data = errorData(verdict.code, {
      message: verdict.message,
      pool_id: this.context.pool,
      replica_id: this.context.replicaId,
      tokens_out: this.tokens,
      attempt: this.begun.attempt,
    })
    return this.settle(
      { kind: 'seal', event: 'error', data: JSON.stringify(data) },
      verdict.code,
      verdict.message,
    )
  }

  /** Writes the terminal event, if there is one to write, and says what becomes of the job. */
  private async settle(
    step: { kind: 'seal'; event: 'end' | 'error'; data: string } | Exclude<Verdict, { kind: 'seal' }>,
    outcome: string,
    message?: string,
  ): Promise<AttemptReport> {
    this.settled = true
    let disposition: Disposition
    if (step.kind === 'seal') {
      this.writer.seal(step.event, step.data)
      disposition = await this.sealed()
    } else {
      disposition =
        step.kind === 'over' || (step.fenced !== true && (await this.flushed()) === 'sealed')
          ? { kind: 'over' }
          : { kind: 'back', delayMs: step.delayMs, counts: step.counts }
      this.writer.abort()
    }
    return {
      disposition,
      outcome: disposition.kind === 'back' && step.kind === 'seal' ? 'back' : outcome,
      attempt: this.begun.attempt,
      tokensOut: this.tokens,
      queueTimeMs: Math.max(0, this.begun.startedAt - this.begun.acceptedAt),
      firstTokenMs: this.firstTokenAt === undefined ? undefined : this.firstTokenMs(this.firstTokenAt),
      decodeTimeMs: this.decodeMs(),
      message,
      correlationId: this.begun.job.correlation_id,
    }
  }

  /** From the first token to the last, as far as this attempt has seen the last one. */
  private decodeMs(): number | undefined {
    const { firstTokenAt, lastTokenAt } = this
    if (firstTokenAt === undefined || lastTokenAt === undefined) return undefined
    return Math.max(0, Math.round(lastTokenAt - firstTokenAt))
  }

  /** Waits a moment for what has come already: whoever goes on begins there. Tells when the job turns out to be over. */
  private async flushed(): Promise<'sealed' | undefined> {
    const { writer } = this
    await within(writer.flushed(), FLUSH_MS)
    writer.abort()
    return (await writer.outcome) === 'sealed' ? 'sealed' : undefined
  }

  /** Waits for the seal; gives up only with the lock, since without Redis there is nobody to tell. */
  private async sealed(): Promise<Disposition> {
    const { lockLost } = this.job
    const abort = () => this.writer.abort()
    lockLost.addEventListener('abort', abort, { once: true })
    if (lockLost.aborted) abort()
    const result = await this.writer.outcome
    lockLost.removeEventListener('abort', abort)
    return result === 'sealed'
      ? { kind: 'over' }
      : { kind: 'back', delayMs: this.context.lockMs, counts: true }
  }
}

/**
 * One attempt at one job, in order: pick up → prompt → stream → settle. Each step ends in the next one or in a
 * disposition; nothing ends in silence.
 *
 * Past 250 lines: the steps share one clock, one count of tokens and one writer, and are read as one story.
 */
import type { EventData } from '../contract/event.ts'
import type { PoolConfig } from '../contract/pool-config.ts'
import type { Versions } from '../contract/replica-entry.ts'
import type { Disposition, TakenJob } from '../queue/consumer.ts'
import { createAttemptWriter } from '../stream/attempt-writer.ts'
import type { AttemptWriter } from '../stream/attempt-writer.ts'
import type { EventLog } from '../stream/event-log.ts'
import { errorData } from '../stream/seal.ts'
import type { TgiClient } from '../tgi/client.ts'
import type { GenerationEnd, TgiToken } from '../tgi/answer.ts'
import type { Generation } from '../tgi/generate.ts'
import type { ChatRenderer } from './chat.ts'
import { formatToken } from './format-token.ts'
import { Interruption } from './interruption.ts'
import { pickUp } from './pick-up.ts'
import type { PickedUp } from './pick-up.ts'
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
  try {
    const begun = await pickUp({
      log: context.log,
      jobId: job.id,
      body: job.body,
      handBacks: job.handBacks,
      pool: context.pool,
      replicaId: context.replicaId,
      versions: context.versions,
      config: context.config,
    })
    if (begun === undefined) return nothingToDo()
    return await new Attempt(job, begun, context, interrupt).run()
  } finally {
    job.lockLost.removeEventListener('abort', lost)
  }
}

function nothingToDo(): AttemptReport {
  return {
    disposition: { kind: 'over' },
    outcome: 'over',
    attempt: undefined,
    tokensOut: 0,
    queueTimeMs: undefined,
    firstTokenMs: undefined,
    decodeTimeMs: undefined,
  }
}

/** An attempt that has written `started`. */
class Attempt {
  private readonly job: TakenJob
  private readonly begun: PickedUp
  private readonly context: AttemptContext
  private readonly interrupt: AbortController
  private readonly writer: AttemptWriter
  /** Redis's clock at the moment this object was made, to the ms; the local clock goes on from there. */
  private readonly clockBase: number
  private generation: Generation | undefined
  private tokens = 0
  private firstTokenAt: number | undefined
  private lastTokenAt: number | undefined
  private metricsAt: number
  /** The stream is over; what the writer says is no interruption any more. */
  private settled = false

  constructor(job: TakenJob, begun: PickedUp, context: AttemptContext, interrupt: AbortController) {
    this.job = job
    this.begun = begun
    this.context = context
    this.interrupt = interrupt
    this.clockBase = begun.startedAt - performance.now()
    this.metricsAt = performance.now()
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
      if (outcome === 'fenced') interrupt.abort(new Interruption('fenced'))
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
    const { inputs, messages, parameters } = begun.job
    const prompt = inputs ?? (await context.chat.render(messages ?? [], interrupt.signal))
    this.generation = context.client.generate(
      { inputs: prompt, parameters, seed: begun.seed, maxNewTokens: begun.maxNewTokens },
      {
        signal: interrupt.signal,
        onToken: (token) => this.publish(token),
        firstTokenTimeoutMs: context.config.first_token_timeout_ms,
        tokenTimeoutMs: context.config.token_timeout_ms,
      },
    )
    const end = await this.generation.done
    if (end.tokensIn !== undefined || inputs === undefined) return end
    // Cut off by us, so the replica never told how long the prompt was: it can be asked.
    const counted = await context.client
      .tokenize(prompt, { signal: interrupt.signal, timeoutMs: 1000 })
      .catch(() => undefined)
    return counted === undefined ? end : { ...end, tokensIn: counted.length }
  }

  private publish(token: TgiToken): void {
    const localAt = performance.now()
    const at = this.clockBase + localAt
    this.firstTokenAt ??= at
    this.lastTokenAt = at
    const data = formatToken(token, this.tokens)
    this.tokens += 1
    this.context.onToken(localAt)
    this.writer.append('token', data)
    if (this.context.config.metrics_interval_ms > 0) this.publishMetrics()
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
    const at = this.now()
    const data: EventData['end'] = {
      finish_reason: end.finishReason,
      tokens_out: this.tokens,
      queue_time_ms: Math.max(0, begun.firstStartedAt - begun.acceptedAt),
      first_token_ms: Math.max(0, Math.round((this.firstTokenAt ?? at) - begun.acceptedAt)),
      decode_time_ms: Math.round((this.lastTokenAt ?? at) - (this.firstTokenAt ?? at)),
      seed: begun.seed,
      text: end.text,
      attempts: begun.attempt,
      exact: true,
    }
    if (end.tokensIn !== undefined) data.tokens_in = end.tokensIn
    return this.settle({ kind: 'seal', event: 'end', data: JSON.stringify(data) }, 'end')
  }

  private async fail(error: unknown): Promise<AttemptReport> {
    const verdict = verdictOn(error, {
      tokens: this.tokens,
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
      this.writer.abort()
      disposition =
        step.kind === 'over' ? { kind: 'over' } : { kind: 'back', delayMs: step.delayMs, counts: step.counts }
    }
    return {
      disposition,
      outcome: disposition.kind === 'back' && step.kind === 'seal' ? 'back' : outcome,
      attempt: this.begun.attempt,
      tokensOut: this.tokens,
      queueTimeMs: Math.max(0, this.begun.startedAt - this.begun.acceptedAt),
      firstTokenMs:
        this.firstTokenAt === undefined ? undefined : Math.round(this.firstTokenAt - this.begun.acceptedAt),
      decodeTimeMs:
        this.firstTokenAt === undefined || this.lastTokenAt === undefined
          ? undefined
          : Math.round(this.lastTokenAt - this.firstTokenAt),
      message,
      correlationId: this.begun.job.correlation_id,
    }
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

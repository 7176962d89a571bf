// Past 250 lines: queue, places, permits and the clock change together, and a reader has to see them do so.
import type { Clock } from './clock.ts'
import type { Decoding } from './decoding.ts'
import type { Registry } from './exposition.ts'
import type { Entry, Ledger } from './ledger.ts'
import { countCalls, countConcat, countFailedCall } from './metrics.ts'

/** A request on its way through queue, prefill and decoding. */
export interface Run {
  readonly decoding: Decoding
  readonly entry: Entry
  readonly prefillMs: number
  /** Called before each token; `'over'` and `'halted'` when a fault took its place. */
  beforeToken(): 'go' | 'halted' | 'over'
  /** Takes the token that `decoding` has just made; when it was the last, ends the answer. */
  accept(): void
  /** Sends what was accepted; `'blocked'`, and the engine waits for {@link Engine.resume}. */
  flush(isPaced: boolean): 'open' | 'blocked'
  /** The batch has failed with this message. */
  fail(message: string): void
}

/** Called at each beat of the engine. `nowMs` is on the simulator's clock. */
interface Beating {
  beat(nowMs: number): void
}

/** Drives all generations, in place of the GPU. */
export interface Engine {
  readonly permitsInUse: number
  readonly running: number
  readonly queued: number
  /** Takes permits if there are enough, at once or not at all; the function returned gives them back, once. */
  tryAcquire(count: number): (() => void) | undefined
  submit(run: Run): void
  /** The client has left: the place is given up at the next token, as TGI does (backends/v3/src/backend.rs). */
  leave(run: Run): void
  /** The socket takes bytes again. */
  resume(run: Run): void
  /** Requests in prefill now; all other requests to the shard wait behind them. */
  readonly prefilling: readonly Run[]
  /** Ends everything that runs in a `generation` error. */
  failBatch(message: string): void
  attach(beating: Beating): void
  detach(beating: Beating): void
  stop(): void
}

/** What the engine has to know. */
export interface EngineOptions {
  readonly tokensPerSecond: number
  readonly maxConcurrentRequests: number
  readonly maxBatchSize: number
  readonly clock: Clock
  readonly metrics: Registry
  readonly ledger: Ledger
}

/** Half of this is what a token is late on average when paced. */
const TICK_MS = 5
/** Tokens of one stream in one write when nothing is paced: about 4 KiB, four writes to a socket's high-water mark. */
const BURST_TOKENS = 32
/** How far a paced stream that was held up may fall behind before it forgets the rest. */
const MAX_LAG_MS = 1000

interface Place {
  readonly run: Run
  readonly queuedAtMs: number
  startedAtMs: number
  dueMs: number
  isPrefilled: boolean
  isBlocked: boolean
  isGone: boolean
}

/**
 * An engine at rest. Paced streams get their tokens from one 5 ms interval; unpaced ones take turns of
 * {@link BURST_TOKENS}, with the event loop let in after each round. Nothing runs while there is nothing to do.
 */
export function createEngine(options: EngineOptions): Engine {
  return new TokenEngine(options)
}

/** A class because queue, places and permits change with every event. */
class TokenEngine implements Engine {
  permitsInUse = 0
  readonly #options: EngineOptions
  readonly #intervalMs: number
  readonly #places = new Map<Run, Place>()
  readonly #beating = new Set<Beating>()
  #queue: Place[] = []
  #stopTicking: (() => void) | undefined
  #admission: NodeJS.Immediate | undefined
  #round: NodeJS.Immediate | undefined
  #isStopped = false

  constructor(options: EngineOptions) {
    this.#options = options
    this.#intervalMs = options.tokensPerSecond === 0 ? 0 : 1000 / options.tokensPerSecond
  }

  get running(): number {
    return this.#places.size
  }

  get queued(): number {
    return this.#queue.length
  }

  get prefilling(): readonly Run[] {
    const places = [...this.#places.values()]
    return places.filter((place) => !place.isPrefilled && place.dueMs < Infinity).map(({ run }) => run)
  }

  tryAcquire(count: number): (() => void) | undefined {
    if (this.permitsInUse + count > this.#options.maxConcurrentRequests) return undefined
    this.permitsInUse += count
    let isHeld = true
    return () => {
      if (!isHeld) return
      isHeld = false
      this.permitsInUse -= count
    }
  }

  submit(run: Run): void {
    const now = this.#options.clock.now()
    run.entry.phase = 'queued'
    this.#queue.push({
      run,
      queuedAtMs: now,
      startedAtMs: now,
      dueMs: 0,
      isPrefilled: false,
      isBlocked: false,
      isGone: false,
    })
    this.#options.metrics.record('tgi_queue_size', this.#queue.length)
    this.#admitSoon()
  }

  leave(run: Run): void {
    const place = this.#places.get(run) ?? this.#queue.find((queued) => queued.run === run)
    if (place === undefined) return
    place.isGone = true
    place.isBlocked = false
    // A place that waits for nothing more would never see its next token.
    if (this.#places.has(run) && place.dueMs === Infinity) this.#drop(place)
    this.#wake()
  }

  resume(run: Run): void {
    const place = this.#places.get(run)
    if (place === undefined) return
    place.isBlocked = false
    this.#wake()
  }

  failBatch(message: string): void {
    countFailedCall(this.#options.metrics, 'decode')
    for (const place of this.#places.values()) {
      this.#release(place)
      if (place.isGone) this.#countDropped()
      else place.run.fail(message)
    }
  }

  attach(beating: Beating): void {
    this.#beating.add(beating)
    this.#wake()
  }

  detach(beating: Beating): void {
    this.#beating.delete(beating)
  }

  stop(): void {
    this.#isStopped = true
    this.#stopTicking?.()
    clearImmediate(this.#round)
    clearImmediate(this.#admission)
    this.#places.clear()
    this.#beating.clear()
    this.#queue = []
  }

  #admitSoon(): void {
    // Later in this turn, so that requests that arrive together make one batch.
    this.#admission ??= setImmediate(() => {
      this.#admission = undefined
      this.#admit()
    })
  }

  #admit(): void {
    const { metrics, maxBatchSize } = this.#options
    let admitted = 0
    while (this.#queue.length > 0 && this.#places.size < maxBatchSize) {
      const place = this.#queue.shift()
      if (place === undefined) break
      if (place.isGone) {
        this.#countDropped()
        continue
      }
      admitted += 1
      place.startedAtMs = this.#options.clock.now()
      this.#places.set(place.run, place)
      this.#prefill(place)
      metrics.record('tgi_request_queue_duration', (place.startedAtMs - place.queuedAtMs) / 1000)
    }
    metrics.record('tgi_queue_size', this.#queue.length)
    if (admitted === 0) return
    metrics.record('tgi_batch_next_size', admitted)
    if (this.#places.size > admitted) countConcat(metrics)
    this.#gaugeBatch()
    this.#tick()
    this.#wake()
  }

  #prefill(place: Place): void {
    place.isPrefilled = false
    place.dueMs = this.#options.clock.now() + place.run.prefillMs
    place.run.entry.phase = 'prefill'
  }

  #wake(): void {
    if (this.#isStopped) return
    if (this.#places.size + this.#beating.size > 0) {
      this.#stopTicking ??= this.#options.clock.every(TICK_MS, () => this.#tick())
    }
    if (this.#intervalMs === 0) this.#round ??= setImmediate(() => this.#playRound())
  }

  #tick(): void {
    const now = this.#options.clock.now()
    const countDecodes = this.#startDecodes()
    for (const place of this.#places.values()) {
      if (place.dueMs > now || place.isBlocked) continue
      if (!place.isPrefilled) {
        place.isPrefilled = true
        countCalls(this.#options.metrics, 'prefill', place.run.prefillMs / 1000)
        place.run.entry.phase = place.isGone ? 'aborted' : 'decoding'
        if (this.#intervalMs === 0) this.#wake()
      }
      if (this.#intervalMs > 0) this.#pay(place, now)
    }
    countDecodes()
    for (const beating of this.#beating) beating.beat(now)
    if (this.#places.size + this.#beating.size > 0) return
    this.#stopTicking?.()
    this.#stopTicking = undefined
  }

  /** All tokens due by now, each in a write of its own. */
  #pay(place: Place, now: number): void {
    place.dueMs = Math.max(place.dueMs, now - MAX_LAG_MS)
    while (place.dueMs <= now && place.isPrefilled && !place.isBlocked) {
      if (!this.#step(place)) return
      if (!place.isPrefilled) return
      place.dueMs += this.#intervalMs
      place.isBlocked = place.run.flush(true) === 'blocked'
    }
  }

  #playRound(): void {
    this.#round = undefined
    const countDecodes = this.#startDecodes()
    let isBusy = false
    for (const place of this.#places.values()) {
      if (!place.isPrefilled || place.isBlocked) continue
      let isAlive = true
      for (let count = 0; isAlive && place.isPrefilled && count < BURST_TOKENS; count += 1) {
        isAlive = this.#step(place)
      }
      if (!isAlive) continue
      place.isBlocked = place.run.flush(false) === 'blocked'
      isBusy ||= place.isPrefilled && !place.isBlocked
    }
    countDecodes()
    if (isBusy) this.#wake()
  }

  /** Call it before making tokens, and the function it returns afterwards: each call of the shard makes one token a place. */
  #startDecodes(): () => void {
    const { ledger, metrics } = this.#options
    const before = ledger.tokensTotal
    const places = this.#places.size
    return () => {
      const calls = Math.ceil((ledger.tokensTotal - before) / places)
      if (calls > 0) countCalls(metrics, 'decode', this.#intervalMs / 1000, calls)
    }
  }

  /** One token. False: the place is empty or halted now. */
  #step(place: Place): boolean {
    if (place.isGone) {
      this.#drop(place)
      return false
    }
    const { run } = place
    const verdict = run.beforeToken()
    // A fault of the whole batch has emptied this place already.
    if (!this.#places.has(run)) return false
    if (verdict === 'halted') {
      run.entry.phase = 'halted'
      place.dueMs = Infinity
      place.isPrefilled = false
      return false
    }
    if (verdict === 'over') {
      this.#release(place)
      return false
    }
    run.decoding.step(this.#places.size)
    run.entry.tokens += 1
    this.#options.ledger.tokensTotal += 1
    const { finish } = run.decoding
    // Before the last event leaves, so that who has it finds the place free and the metrics told.
    if (finish !== undefined) this.#finish(place)
    run.accept()
    if (run.decoding.resliced) {
      this.#countSlice(run)
      this.#prefill(place)
      run.flush(true)
    }
    return finish === undefined
  }

  #gaugeBatch(): void {
    let tokens = 0
    for (const { run } of this.#places.values()) {
      tokens += run.decoding.slice.inputTokens + run.decoding.slice.length
    }
    this.#options.metrics.record('tgi_batch_current_size', this.#places.size)
    this.#options.metrics.record('tgi_batch_current_max_tokens', tokens)
  }

  #finish(place: Place): void {
    const { metrics } = this.#options
    const { tokens } = place.run.decoding
    const seconds = (this.#options.clock.now() - place.startedAtMs) / 1000
    this.#release(place)
    metrics.record('tgi_request_inference_duration', seconds)
    metrics.record('tgi_request_mean_time_per_token_duration', seconds / tokens)
    metrics.record('tgi_request_generated_tokens', tokens)
    metrics.record('tgi_request_skipped_tokens', 0, {}, tokens)
  }

  #countSlice({ decoding: { slice } }: Run): void {
    this.#options.metrics.record('tgi_request_input_length', slice.inputTokens)
    this.#options.metrics.record('tgi_request_max_new_tokens', slice.length)
  }

  #countDropped(): void {
    this.#options.metrics.record('tgi_request_failure', 1, { err: 'dropped' })
  }

  #drop(place: Place): void {
    this.#countDropped()
    this.#release(place)
  }

  #release(place: Place): void {
    this.#places.delete(place.run)
    this.#gaugeBatch()
    if (this.#queue.length > 0) this.#admitSoon()
  }
}

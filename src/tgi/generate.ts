import type { GenerationParameters } from '../contract/parameters.ts'
import type { GenerationEnd, TgiToken } from './answer.ts'
import { createAnswer } from './answer.ts'
import type { CallTarget } from './call.ts'
import { TgiError } from './error.ts'
import type { HttpHandler, HttpHead } from './http.ts'
import { toTgiParameters } from './params.ts'
import { quoteWithout } from './quote.ts'
import { refusalOf } from './refusal.ts'
import { watchSilence } from './silence.ts'
import { createSseReader } from './sse.ts'

/** What to generate. */
export interface GenerateRequest {
  readonly inputs: string
  readonly parameters: GenerationParameters
  /** A safe integer, at least 0. */
  readonly seed: number
  /** At least 1; never exceeded. */
  readonly maxNewTokens: number
}

/** How to listen, and when to stop. */
export interface GenerateOptions {
  /** Closes the socket at once in every state; `done` rejects with its reason, and no token follows. */
  readonly signal: AbortSignal
  /** Called synchronously, in order, with every token, also empty and special ones. */
  readonly onToken: (token: TgiToken) => void
  /** The request went out on the socket. */
  readonly onRequestSent?: (() => void) | undefined
  /** Silence before the first token, from the call on (ms). Keep-alive comments are silence; a pause does not count. */
  readonly firstTokenTimeoutMs: number
  /** Silence between two tokens (ms), counted alike. */
  readonly tokenTimeoutMs: number
}

/** A generation under way. */
export interface Generation {
  /**
   * The end of the answer. Rejects with `TgiError`, the signal's reason, or what `onToken` threw. Has to be awaited:
   * otherwise a rejection is unhandled.
   */
  readonly done: Promise<GenerationEnd>
  /** Stops reading from the socket. Tokens of the bytes in hand, 64 KiB at most, are still emitted. */
  pause(): void
  /** Goes on reading, after the code that runs now. */
  resume(): void
}

/** Enough of a refusal to say why; the rest is not read. */
const MAX_REFUSAL_BYTES = 4096
/** How long to wait for the body of a refusal (ms). */
const REFUSAL_MS = 1000

/**
 * Sends one `POST /generate_stream` and emits its tokens. Long because every way out goes through `settle`, which
 * lets the first one win and leaves nothing behind: no timer, no listener, and no socket but one that waits for the next.
 */
export function startGeneration(
  target: CallTarget,
  request: GenerateRequest,
  options: GenerateOptions,
): Generation {
  const { signal } = options
  if (signal.aborted) return { done: Promise.reject(signal.reason), pause() {}, resume() {} }
  const { promise: done, resolve, reject } = Promise.withResolvers<GenerationEnd>()
  let over = false

  function settle(report: () => void, isWhole = false): void {
    if (over) return
    over = true
    signal.removeEventListener('abort', onAbort)
    silence.stop()
    if (isWhole) exchange.leave()
    else exchange.close()
    report()
  }
  const fail = (reason: unknown) => settle(() => reject(reason))
  const onAbort = () => fail(signal.reason)

  const { inputs, parameters } = request
  const careful = { ...target, quote: quoteWithout(target.quote, { inputs, parameters }) }
  const asked = { maxNewTokens: request.maxNewTokens, topTokens: parameters.top_n_tokens ?? 0 }
  const answer = createAnswer(asked, options.onToken, careful)
  const events = createSseReader(
    (data) => {
      // One chunk may hold many events; an abort, or the end, lies between two of them.
      if (over) return
      const end = answer.take(data)
      if (end !== undefined) settle(() => resolve(end), !end.cut)
    },
    () => fail(new TgiError('malformed', `an event of ${target.label} is larger than 1 MiB`)),
  )
  const silence = watchSilence({
    firstTokenTimeoutMs: options.firstTokenTimeoutMs,
    tokenTimeoutMs: options.tokenTimeoutMs,
    onSilent: (first) => fail(silenceError(first, answer.tokens, options, target.label)),
  })
  const exchange = target.peer.send(
    { method: 'POST', path: '/generate_stream', body: bodyOf(request) },
    readStream(careful, {
      fail,
      onSent: options.onRequestSent,
      onChunk(chunk) {
        const before = answer.tokens
        events.push(chunk)
        if (!over && answer.tokens !== before) silence.progress()
      },
    }),
  )
  signal.addEventListener('abort', onAbort, { once: true })

  return {
    done,
    pause() {
      if (over) return
      silence.pause()
      exchange.pause()
    },
    resume() {
      if (over) return
      silence.resume()
      exchange.resume()
    },
  }
}

interface StreamListener {
  readonly fail: (reason: unknown) => void
  readonly onSent: (() => void) | undefined
  readonly onChunk: (chunk: Buffer) => void
}

/** Distinguishes a stream from a refusal. 200 means only that events follow; one of them may report an error. */
function readStream(target: CallTarget, { fail, onSent, onChunk }: StreamListener): HttpHandler {
  let refused: HttpHead | undefined
  let text = ''

  /** Reports what a listener throws to its caller; undici would make another error of it. */
  function guarded(run: () => void): void {
    try {
      run()
    } catch (error) {
      fail(error)
    }
  }
  function refuse(head: HttpHead): void {
    fail(refusalOf({ ...head, text }, target.label, target.quote))
  }
  return {
    onSent: () => guarded(() => onSent?.()),
    onHead(head) {
      const { status, contentType } = head
      if (status !== 200) {
        refused = head
        setTimeout(refuse, REFUSAL_MS, head).unref()
      } else if (!contentType.toLowerCase().startsWith('text/event-stream')) {
        const got = contentType === '' ? 'no content type' : target.quote(contentType)
        fail(new TgiError('not_tgi', `${target.label} answered with ${got} instead of an event stream`))
      }
    },
    onData(chunk) {
      if (refused === undefined) return guarded(() => onChunk(chunk))
      text += chunk.toString('utf8')
      if (text.length >= MAX_REFUSAL_BYTES) refuse(refused)
    },
    onEnd() {
      if (refused !== undefined) return refuse(refused)
      fail(new TgiError('no_final_event', `the stream of ${target.label} ended without a final event`))
    },
    // The status is enough if the body does not arrive.
    onFault: (fault) => (refused === undefined ? fail(fault) : refuse(refused)),
  }
}

function bodyOf({ inputs, parameters, seed, maxNewTokens }: GenerateRequest): string {
  return JSON.stringify({ inputs, parameters: toTgiParameters(parameters, seed, maxNewTokens) })
}

function silenceError(first: boolean, tokens: number, options: GenerateOptions, label: string): TgiError {
  return first
    ? new TgiError(
        'first_token_timeout',
        `${label} sent no first token within ${options.firstTokenTimeoutMs} ms`,
      )
    : new TgiError(
        'token_timeout',
        `${label} sent no token within ${options.tokenTimeoutMs} ms after token ${tokens}`,
      )
}

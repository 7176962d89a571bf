import type { Decoding } from './decoding.ts'
import type { Run } from './engine.ts'
import type { ErrorType } from './frames.ts'
import { detailsJson, generatedTextJson, tokenJson, topTokensJson } from './frames.ts'
import type { EndingKind, Hits } from './generation.ts'
import {
  countFailure,
  countShardFailure,
  countSuccess,
  endingAfter,
  frameOptions,
  prefillMs,
  prepare,
  SHARD_ERROR,
} from './generation.ts'
import type { Entry, Outcome } from './ledger.ts'
import type { Replica } from './replica.ts'
import type { GenerateRequest } from './request.ts'
import type { Exchange } from './respond.ts'
import { sendError, sendJson } from './respond.ts'
import { countCharacters } from './tokenizer.ts'
import { refusedBestOf } from './validate.ts'

/** One answer under way. */
interface Answer {
  readonly replica: Replica
  readonly exchange: Exchange
  readonly request: GenerateRequest
  readonly hits: Hits
  readonly entry: Entry
  /** The answer is an array of one, as `POST /` has it. */
  readonly isArray: boolean
  outcome: Outcome | undefined
}

/**
 * `POST /generate`: no byte before the whole answer, errors with a status of their own (router/src/server.rs, TGI 3.3.7).
 * With `best_of` the first answer is the best one; the others are made at once when it is complete. Framing faults do nothing here.
 */
export function generate(
  replica: Replica,
  exchange: Exchange,
  request: GenerateRequest,
  hits: Hits,
  isArray: boolean,
): void {
  const entry = replica.ledger.open(request.inputs, exchange.receivedAtMs)
  replica.metrics.record('tgi_request_count', 1)
  const answer: Answer = { replica, exchange, request, hits, entry, isArray, outcome: undefined }
  const admitted = admit(answer)
  exchange.response.once('close', () => {
    admitted?.release()
    entry.close(answer.outcome ?? 'aborted')
    if (admitted !== undefined) replica.engine.leave(admitted.run)
  })
  if (admitted !== undefined) replica.engine.submit(admitted.run)
}

function endInError(answer: Answer, type: ErrorType, message: string): void {
  answer.outcome = 'failed'
  sendError(answer.exchange, type, message)
}

function admit(answer: Answer): { readonly release: () => void; readonly run: Run } | undefined {
  const { exchange, hits, replica, request } = answer
  const bestOf = request.parameters.best_of
  const refused = refusedBestOf(bestOf, replica.limits.maxBestOf)
  if (refused !== undefined) {
    countFailure(replica, 'validation')
    endInError(answer, 'validation', `Input validation error: ${refused}`)
    return undefined
  }
  const release = hits.has('overloaded') ? undefined : replica.engine.tryAcquire(Math.max(1, bestOf ?? 1))
  if (release === undefined) {
    countFailure(replica, 'overloaded')
    endInError(answer, 'overloaded', 'Model is overloaded')
    return undefined
  }
  const decoding = prepare(replica, request, exchange.receivedAtMs)
  if (typeof decoding === 'string') {
    release()
    endInError(answer, 'validation', decoding)
    return undefined
  }
  return { release, run: createRun(answer, decoding, release) }
}

function createRun(answer: Answer, decoding: Decoding, release: () => void): Run {
  const { entry, exchange, hits, replica, request } = answer
  const { parameters } = request
  const isDetailed = parameters.details || parameters.decoder_input_details
  const options = frameOptions(request, hits)
  const ending = endingAfter(hits)
  const tokens: string[] = []
  const topTokens: string[] = []
  return {
    decoding,
    entry,
    prefillMs: prefillMs(replica, hits),
    beforeToken() {
      const kind = ending(decoding.tokens)
      return kind === undefined ? 'go' : strike(answer, kind)
    },
    accept() {
      if (isDetailed) tokens.push(tokenJson(decoding, options.quirks))
      if (options.topTokens > 0) topTokens.push(topTokensJson(decoding, options.topTokens, options.quirks))
      if (decoding.finish === undefined) return
      answer.outcome = 'finished'
      release()
      countSuccess(replica, exchange.receivedAtMs)
      const top = topTokens.length > 0 ? `,"top_tokens":[${topTokens.join()}]` : ''
      const others = isDetailed ? otherSequences(answer) : ''
      const details = `,"details":{${detailFields(decoding)},"prefill":[],"tokens":[${tokens.join()}]${others}${top}}`
      const text = generatedTextJson(decoding, options)
      const json = `{"generated_text":${text}${isDetailed ? details : ''}}`
      sendJson(exchange, 200, answer.isArray ? `[${json}]` : json, computeHeaders(answer, decoding))
    },
    flush: () => 'open',
    fail(message) {
      countFailure(replica, 'generation')
      replica.isSuspect = true
      endInError(answer, 'generation', message)
    },
  }
}

/** `best_of_sequences`: the other complete answers; absent unless several were requested. */
function otherSequences({ exchange, hits, replica, request }: Answer): string {
  const bestOf = request.parameters.best_of ?? 1
  if (bestOf <= 1) return ''
  const options = frameOptions(request, hits)
  const sequences: string[] = []
  while (sequences.length < bestOf - 1) {
    const decoding = prepare(replica, request, exchange.receivedAtMs)
    // The request was valid before, so it still is.
    if (typeof decoding === 'string') break
    const tokens: string[] = []
    const top: string[] = []
    while (decoding.finish === undefined) {
      decoding.step(1)
      tokens.push(tokenJson(decoding, options.quirks))
      if (options.topTokens > 0) top.push(topTokensJson(decoding, options.topTokens, options.quirks))
    }
    const topTokens = top.length > 0 ? `,"top_tokens":[${top.join()}]` : ''
    const text = generatedTextJson(decoding, options)
    sequences.push(
      `{"generated_text":${text},${detailFields(decoding)},"prefill":[],"tokens":[${tokens.join()}]${topTokens}}`,
    )
  }
  return `,"best_of_sequences":[${sequences.join()}]`
}

/** `details` as the synchronous routes have them: without `input_length`. */
function detailFields(decoding: Decoding): string {
  return detailsJson(decoding)
    .slice(1)
    .replace(/,"input_length":\d+\}$/, '')
}

function computeHeaders({ exchange, replica, request }: Answer, decoding: Decoding): Record<string, string> {
  const totalMs = replica.settings.clock.now() - exchange.receivedAtMs
  return {
    'x-compute-type': 'gpu+optimized',
    'x-compute-time': String(totalMs / 1000),
    'x-compute-characters': String(countCharacters(request.inputs)),
    'x-total-time': String(Math.trunc(totalMs)),
    'x-validation-time': '0',
    'x-queue-time': '0',
    'x-inference-time': String(Math.trunc(totalMs)),
    'x-time-per-token': String(Math.trunc(totalMs / decoding.tokens)),
    'x-prompt-tokens': String(decoding.inputTokens),
    'x-generated-tokens': String(decoding.tokens),
  }
}

function strike(answer: Answer, kind: EndingKind): 'halted' | 'over' {
  const { exchange, hits, replica } = answer
  if (kind === 'stall' || kind === 'freeze') return 'halted'
  answer.outcome = 'failed'
  switch (kind) {
    case 'crash':
      exchange.response.destroy()
      break
    case 'incomplete':
    case 'no-final-event':
      countFailure(replica, 'incomplete')
      endInError(answer, 'incomplete_generation', 'Incomplete generation')
      break
    case 'generation-error':
      if (hits.get('generation-error')?.batch === true) replica.engine.failBatch(SHARD_ERROR)
      else {
        countShardFailure(replica, answer.entry.tokens)
        endInError(answer, 'generation', SHARD_ERROR)
      }
      break
  }
  return 'over'
}

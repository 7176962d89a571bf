import type { EventWriter } from './event-writer.ts'
import { createEventWriter } from './event-writer.ts'
import type { Run } from './engine.ts'
import { COMMENT_FRAME, errorJson, tokenFrame } from './frames.ts'
import type { ErrorType } from './frames.ts'
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
import type { Decoding } from './decoding.ts'
import type { Entry, Outcome } from './ledger.ts'
import type { Replica } from './replica.ts'
import type { GenerateRequest } from './request.ts'
import type { Exchange } from './respond.ts'
import { countCharacters } from './tokenizer.ts'
import { refusedWhenStreaming } from './validate.ts'

/** One answer under way. */
interface Answer {
  readonly replica: Replica
  readonly exchange: Exchange
  readonly request: GenerateRequest
  readonly hits: Hits
  readonly entry: Entry
  readonly writer: EventWriter
  outcome: Outcome | undefined
}

/**
 * `POST /generate_stream`: 200 and its headers first, then everything else inside the stream, errors too
 * (router/src/server.rs, TGI 3.3.7).
 */
export function generateStream(
  replica: Replica,
  exchange: Exchange,
  request: GenerateRequest,
  hits: Hits,
): void {
  const { engine, ledger, metrics, settings } = replica
  const { response } = exchange
  const entry = ledger.open(request.inputs, exchange.receivedAtMs)
  metrics.record('tgi_request_count', 1)
  response.writeHead(200, {
    'content-type': 'text/event-stream',
    'cache-control': 'no-cache',
    'x-accel-buffering': 'no',
    'x-compute-type': 'gpu+optimized',
    'x-compute-characters': String(countCharacters(request.inputs)),
  })
  response.flushHeaders()
  const writer = createEventWriter(response, {
    clock: settings.clock,
    keepAliveMs: settings.keepAliveMs,
    cut: hits.has('cut'),
    merge: hits.has('merge'),
  })
  const answer: Answer = { replica, exchange, request, hits, entry, writer, outcome: undefined }
  engine.attach(writer)
  const admitted = admit(answer)
  response.once('close', () => {
    engine.detach(writer)
    admitted?.release()
    entry.close(answer.outcome ?? 'aborted')
    if (admitted !== undefined) engine.leave(admitted.run)
  })
  if (admitted !== undefined) engine.submit(admitted.run)
}

/** Permit and validation, in this order: overload wins over any mistake but those a stream is refused for outright. */
function admit(answer: Answer): { readonly release: () => void; readonly run: Run } | undefined {
  const { replica, exchange, hits, request, writer } = answer
  const comments = hits.get('keep-alives')
  if (comments !== undefined) {
    writer.push(COMMENT_FRAME.repeat(comments.count ?? 3))
    writer.flush()
  }
  const refused = refusedWhenStreaming(request.parameters)
  if (refused !== undefined) {
    countFailure(replica, 'validation')
    endInError(answer, 'validation', `Input validation error: ${refused}`)
    return undefined
  }
  const release = hits.has('overloaded') ? undefined : replica.engine.tryAcquire(1)
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
  return { release, run: createRun(answer, decoding) }
}

function endInError(answer: Answer, type: ErrorType, message: string): void {
  const { writer } = answer
  answer.outcome = 'failed'
  const space = answer.hits.has('no-space') ? '' : ' '
  writer.push(`data:${space}${errorJson(type, message)}\n\n`)
  writer.end()
}

function createRun(answer: Answer, decoding: Decoding): Run {
  const { entry, exchange, hits, replica, request, writer } = answer
  const options = frameOptions(request, hits)
  const ending = endingAfter(hits)
  let malformedAfter = hits.has('malformed') ? (hits.get('malformed')?.after ?? 0) : Infinity
  const isLastSwallowed = hits.has('no-final-event')

  const run: Run = {
    decoding,
    entry,
    prefillMs: prefillMs(replica, hits),
    beforeToken() {
      if (decoding.tokens >= malformedAfter) {
        malformedAfter = Infinity
        writer.push(`data: {"index":${decoding.tokens + 1},"token":{"id":\n\n`)
      }
      const kind = ending(decoding.tokens)
      if (kind === undefined) return 'go'
      return strike(answer, kind, decoding.tokens)
    },
    accept() {
      const isFinal = decoding.finish !== undefined
      if (!isFinal || !isLastSwallowed) writer.push(tokenFrame(decoding, options, isFinal))
      if (!isFinal) return
      answer.outcome = isLastSwallowed ? 'failed' : 'finished'
      if (!isLastSwallowed) countSuccess(replica, exchange.receivedAtMs)
      writer.end()
    },
    flush(isPaced) {
      const isOpen = writer.flush()
      if (isPaced ? !writer.isFull : isOpen) return 'open'
      exchange.response.once('drain', () => replica.engine.resume(run))
      return 'blocked'
    },
    fail(message) {
      answer.outcome = 'failed'
      countFailure(replica, 'generation')
      replica.isSuspect = true
      endInError(answer, 'generation', message)
    },
  }
  return run
}

function strike(answer: Answer, kind: EndingKind, tokens: number): 'halted' | 'over' {
  const { hits, replica, writer } = answer
  if (kind === 'stall' || kind === 'freeze') {
    writer.flush()
    if (kind === 'freeze') writer.silence()
    return 'halted'
  }
  answer.outcome = 'failed'
  switch (kind) {
    case 'crash':
      if (hits.get('crash')?.midFrame === true) writer.push(`data: {"index":${tokens + 1},"token":{"id":4`)
      writer.crash()
      break
    case 'no-final-event':
      writer.end()
      break
    case 'incomplete':
      countFailure(replica, 'incomplete')
      endInError(answer, 'incomplete_generation_stream', 'Incomplete generation stream')
      break
    case 'generation-error':
      if (hits.get('generation-error')?.batch === true) replica.engine.failBatch(SHARD_ERROR)
      else {
        countShardFailure(replica, tokens)
        endInError(answer, 'generation', SHARD_ERROR)
      }
      break
  }
  return 'over'
}

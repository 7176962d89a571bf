import type { CallTarget } from './call.ts'
import { TgiError } from './error.ts'
import { createAnswerBounds } from './answer-bounds.ts'
import type { AnswerRequest } from './answer-bounds.ts'
import { jsonOf } from './json.ts'
import type { TokenFrame } from './wire.ts'
import { errorOfFrame, isErrorFrame, isTokenFrame } from './wire.ts'

/** A token that might have been chosen. */
export interface TgiTopToken {
  readonly id: number
  readonly text: string
  readonly logprob: number | null
  readonly special: boolean
}

/** A token that was chosen. `text` may be empty: its bytes then come with a later one. */
export interface TgiToken extends TgiTopToken {
  /** The likeliest tokens of this place, as many as `top_n_tokens` asked for. */
  readonly top?: readonly TgiTopToken[] | undefined
}

/** How an answer ended. */
export interface GenerationEnd {
  readonly finishReason: 'length' | 'eos_token' | 'stop_sequence'
  /** TGI's own decoding, without special tokens; where it is empty or unknown, the texts of the others joined. */
  readonly text: string
  /** How many tokens were emitted. */
  readonly tokensOut: number
  /** Tokens of the prompt, when TGI said (since v2.3.0, and not when cut). */
  readonly tokensIn: number | undefined
  /** TGI would have gone on: we closed the socket at the limit. */
  readonly cut: boolean
}

/** The source of a response, and how to quote it. */
type AnswerSource = Pick<CallTarget, 'label' | 'quote'>

/** An answer as it comes. */
export interface Answer {
  /** How many tokens were emitted. */
  readonly tokens: number
  /**
   * Takes the data of the next event, emits its token and returns the end if this was it. Throws `TgiError` for an
   * error event and for `malformed` data, and whatever `onToken` throws.
   */
  take(data: string): GenerationEnd | undefined
}

/**
 * Starts an answer of at most `maxNewTokens` tokens. The limit is held here as well because TGI runs more than 1024 in
 * slices and may overshoot to the next multiple (router/src/validation.rs and infer/mod.rs, TGI 3.1.1 to 3.3.7).
 */
export function createAnswer(
  request: AnswerRequest,
  onToken: (token: TgiToken) => void,
  source: AnswerSource,
): Answer {
  const bounds = createAnswerBounds(request, source.label)
  let tokens = 0
  let joined = ''
  return {
    get tokens() {
      return tokens
    },
    take(data) {
      const frame = parseFrame(data, source)
      const token = tokenOf(frame, request.topTokens)
      bounds.check(data, token, frame.generated_text !== undefined && frame.generated_text !== null)
      tokens += 1
      if (!token.special) joined += token.text
      const end = endOf(frame, joined, tokens, source.label)
      onToken(token)
      if (end !== undefined || tokens < request.maxNewTokens) return end
      return { finishReason: 'length', text: joined, tokensOut: tokens, tokensIn: undefined, cut: true }
    },
  }
}

function parseFrame(data: string, { label, quote }: AnswerSource): TokenFrame {
  const value = jsonOf(data)
  if (isErrorFrame(value)) throw errorOfFrame(value, label, quote)
  if (isTokenFrame(value)) return value
  throw new TgiError(
    'malformed',
    `${label} sent an event of ${data.length} characters that is not one of TGI's`,
  )
}

/** TGI sends more than `topTokens` when some are equally likely (utils/tokens.py, 3.3.7), in falling order: the first ones count. */
function tokenOf({ token, top_tokens: top }: TokenFrame, topTokens: number): TgiToken {
  const { id, text, logprob, special } = token
  if (topTokens === 0 || top === undefined || top === null) return { id, text, logprob, special }
  const likeliest = top.slice(0, topTokens).map((other) => tokenOf({ token: other }, 0))
  return { id, text, logprob, special, top: likeliest }
}

/** The end is marked by a text that is not null; it may well be empty (router/src/server.rs, TGI 3.3.7). */
function endOf(
  frame: TokenFrame,
  joined: string,
  tokensOut: number,
  label: string,
): GenerationEnd | undefined {
  const { generated_text: text, details } = frame
  if (text === undefined || text === null) return undefined
  if (details === undefined || details === null) {
    throw new TgiError('malformed', `the last event of ${label} has no details although they were asked for`)
  }
  return {
    finishReason: details.finish_reason,
    // An output that ends inside a multi-byte character is decoded to nothing (models/model.py, TGI 3.3.7).
    text: text === '' ? joined : text,
    tokensOut,
    tokensIn: details.input_length ?? undefined,
    cut: false,
  }
}

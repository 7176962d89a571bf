import { TgiError } from './error.ts'

/**
 * The longest text of one token (characters). The longest of a vocabulary have some 250; but TGI holds text back while it ends inside
 * a character, so one token may bring that of hundreds.
 */
const MAX_TOKEN_CHARS = 16 * 1024
/** The largest event of a token (characters of JSON), but for the last one, which holds the whole answer. */
const MAX_EVENT_CHARS = 64 * 1024
/** What each of the likeliest tokens may add to an event. */
const MAX_TOP_TOKEN_CHARS = 128
/** The longest text of an answer, as JSON: its last event repeats it, and no event is larger (sse.ts). */
const MAX_ANSWER_CHARS = 1024 * 1024
/** The most that the likeliest tokens of an answer may take, as JSON: 37,000 tokens with five each. A worker holds eight such answers. */
const MAX_ANSWER_TOP_CHARS = 8 * 1024 * 1024

/** What an answer was asked for. */
export interface AnswerRequest {
  readonly maxNewTokens: number
  /** How many of the likeliest tokens of each place. */
  readonly topTokens: number
}

/** The texts of a token. */
interface Texts {
  readonly text: string
  readonly top?: readonly { readonly text: string }[] | undefined
}

/** Holds an answer against what it was asked for: all of it is kept in memory and in Redis. */
export interface AnswerBounds {
  /** Counts the token of an event. Throws `TgiError` `malformed` when it is too large, or the answer has become so. */
  check(data: string, token: Texts, isLast: boolean): void
}

/** Bounds for one answer of the server `label`. */
export function createAnswerBounds({ maxNewTokens, topTokens }: AnswerRequest, label: string): AnswerBounds {
  const maxEventChars = MAX_EVENT_CHARS + MAX_TOP_TOKEN_CHARS * topTokens
  const maxTopChars = Math.min(
    MAX_ANSWER_TOP_CHARS,
    maxEventChars + MAX_TOP_TOKEN_CHARS * topTokens * maxNewTokens,
  )
  let tokens = 0
  let chars = 0
  let topChars = 0

  function hold(what: string, got: number, most: number): void {
    if (got <= most) return
    throw new TgiError(
      'malformed',
      `${label}, token ${tokens + 1}: expected ${what} of at most ${most} characters, got ${got}`,
    )
  }

  return {
    check(data, { text, top = [] }, isLast) {
      if (!isLast) hold('an event', data.length, maxEventChars)
      hold('a text', text.length, MAX_TOKEN_CHARS)
      chars += jsonLength(text)
      hold('an answer', chars, MAX_ANSWER_CHARS)
      for (const other of top) {
        hold('a likely text', other.text.length, MAX_TOKEN_CHARS)
        // Id, probability and names of fields besides.
        topChars += jsonLength(other.text) + 40
      }
      hold('likely tokens', topChars, maxTopChars)
      tokens += 1
    },
  }
}

/** What JSON.stringify writes longer: a control character takes six. */
// oxlint-disable-next-line no-control-regex -- it is what is looked for
const LONGER = /["\\\u0000-\u001f\ud800-\udfff]/

function jsonLength(text: string): number {
  return LONGER.test(text) ? JSON.stringify(text).length - 2 : text.length
}

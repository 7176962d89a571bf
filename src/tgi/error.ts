/**
 * What a TGI server, or the way to it, can do wrong:
 *
 * | kind | when |
 * |---|---|
 * | `overloaded` | no free permit; nothing was computed |
 * | `validation` | TGI refuses the prompt or a parameter |
 * | `generation` | a shard failed, for every request of its batch |
 * | `incomplete` | TGI's own stream ended early |
 * | `refused` | HTTP 4xx with plain text: the body never reached a handler |
 * | `unauthorized` | 401: missing or wrong API key |
 * | `too_large` | 413: above the server's payload limit |
 * | `connect` | no connection (refused, timed out, name, TLS) |
 * | `disconnected` | the connection died, or the body was cut off; also our own `close()` |
 * | `no_final_event` | a clean end without the event that ends an answer |
 * | `first_token_timeout`, `token_timeout` | silence before the first token, between two |
 * | `timeout` | a control call took too long |
 * | `malformed` | a frame or an answer that is not TGI's |
 * | `unhealthy` | 503 from `/health` |
 * | `not_tgi` | something answers, but not as TGI |
 * | `http` | any other status |
 */
export type TgiErrorKind =
  | 'overloaded'
  | 'validation'
  | 'generation'
  | 'incomplete'
  | 'refused'
  | 'unauthorized'
  | 'too_large'
  | 'connect'
  | 'disconnected'
  | 'no_final_event'
  | 'first_token_timeout'
  | 'token_timeout'
  | 'timeout'
  | 'malformed'
  | 'unhealthy'
  | 'not_tgi'
  | 'http'

const MAX_MESSAGE_CHARS = 300
const MAX_QUOTE_CHARS = 200

/**
 * The one error of this room. The message is one line of at most 300 characters and holds no prompt, no text of
 * an answer and no key; `cause` is what was underneath, cleaned of bytes from the wire.
 */
export class TgiError extends Error {
  override readonly name = 'TgiError'
  readonly kind: TgiErrorKind
  /** The HTTP status, when one was read that is not 200. */
  readonly status: number | undefined

  constructor(
    kind: TgiErrorKind,
    message: string,
    options: { status?: number | undefined; cause?: unknown } = {},
  ) {
    super(
      oneLine(message, MAX_MESSAGE_CHARS),
      options.cause === undefined ? undefined : { cause: options.cause },
    )
    this.kind = kind
    this.status = options.status
  }
}

/** Makes a server's text fit for a message. */
export type Quote = (text: string) => string

/**
 * A {@link Quote} that gives one line of at most 200 characters, and withholds a text that repeats a secret.
 * Letter case is no hiding place: TGI compares keys without it (router/src/server.rs, TGI 3.3.7).
 */
export function createQuote(secrets: readonly string[]): Quote {
  const hidden = secrets.filter((secret) => secret !== '').map((secret) => secret.toLowerCase())
  return (text) => {
    const lower = text.toLowerCase()
    if (hidden.some((secret) => lower.includes(secret))) return '(text withheld: it repeats the credentials)'
    return oneLine(text, MAX_QUOTE_CHARS)
  }
}

/** Control characters, line and paragraph separators, and the marks that turn text round in a terminal. */
const UNPRINTABLE = /[\p{Cc}\p{Zl}\p{Zp}\u200e\u200f\u202a-\u202e\u2066-\u2069]+/gu

function oneLine(text: string, maxChars: number): string {
  // Cutting first bounds the work on a huge text; a cut pair of surrogates is repaired by toWellFormed.
  const line = text
    .slice(0, maxChars * 4)
    .replace(UNPRINTABLE, ' ')
    .trim()
  return (line.length <= maxChars ? line : `${line.slice(0, maxChars - 1)}…`).toWellFormed()
}

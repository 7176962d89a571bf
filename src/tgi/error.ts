import { oneLine } from './one-line.ts'

/**
 * What a TGI server, or the way to it, can do wrong:
 *
 * | kind | when |
 * |---|---|
 * | `overloaded` | "not now": TGI has no free permit, or HTTP 429, 503, 529; nothing was computed |
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
 * | `http` | any other status, a proxy's 502 and 504 included: the request may have run |
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

/**
 * The one error of this room. The message is one line of at most 300 characters and holds no prompt, no text of
 * an answer and no key; `cause` is what was underneath, cleaned of bytes from the wire.
 */
export class TgiError extends Error {
  override readonly name = 'TgiError'
  readonly kind: TgiErrorKind
  /** The HTTP status, when one was read that is not 200. */
  readonly status: number | undefined
  /** With `overloaded`: the server's `Retry-After` (ms, at most 30,000), if any. */
  readonly retryAfterMs: number | undefined

  constructor(
    kind: TgiErrorKind,
    message: string,
    options: { status?: number | undefined; retryAfterMs?: number | undefined; cause?: unknown } = {},
  ) {
    super(
      oneLine(message, MAX_MESSAGE_CHARS),
      options.cause === undefined ? undefined : { cause: options.cause },
    )
    this.kind = kind
    this.status = options.status
    this.retryAfterMs = options.retryAfterMs
  }
}

import type { Quote } from './quote.ts'
import { TgiError } from './error.ts'
import type { HttpHead, HttpPeer, HttpRequest } from './http.ts'

/** How long and until when a control call may take. */
export interface CallOptions {
  /** Ends the call at once with its reason. */
  readonly signal?: AbortSignal | undefined
  /**
   * For the whole call, in ms; beyond it `timeout`.
   * @defaultValue 5000
   */
  readonly timeoutMs?: number | undefined
}

/** A whole answer. */
export interface HttpAnswer extends HttpHead {
  readonly text: string
}

/** What a call needs to know of its server. */
export interface CallTarget {
  readonly peer: HttpPeer
  readonly label: string
  readonly quote: Quote
}

const DEFAULT_TIMEOUT_MS = 5000

/** Sends a request and reads its whole answer, whatever the status: at most `maxBytes`, else `malformed`. */
export function call(
  target: CallTarget,
  request: HttpRequest & { readonly maxBytes: number },
  options: CallOptions = {},
): Promise<HttpAnswer> {
  const { signal, timeoutMs = DEFAULT_TIMEOUT_MS } = options
  if (signal?.aborted === true) return Promise.reject(signal.reason)
  const { promise, resolve, reject } = Promise.withResolvers<HttpAnswer>()
  const chunks: Buffer[] = []
  let head: HttpHead = { status: 0, contentType: '', retryAfterMs: undefined }

  const exchange = target.peer.send(request, {
    onHead(got) {
      head = got
    },
    onData: (chunk) => chunks.push(chunk),
    onEnd: () => resolve({ ...head, text: Buffer.concat(chunks).toString('utf8') }),
    onFault: (fault) => reject(fault.kind === 'malformed' ? tooLong(target, request, fault) : fault),
  })
  function stop(reason: unknown): void {
    exchange.close()
    reject(reason)
  }
  const onAbort = () => stop(signal?.reason)
  signal?.addEventListener('abort', onAbort, { once: true })
  const timer = setTimeout(() => {
    stop(new TgiError('timeout', `${target.label}${request.path} did not answer within ${timeoutMs} ms`))
  }, timeoutMs)
  return promise.finally(() => {
    clearTimeout(timer)
    signal?.removeEventListener('abort', onAbort)
  })
}

function tooLong(
  { label }: CallTarget,
  { path, maxBytes }: { readonly path: string; readonly maxBytes: number },
  cause: TgiError,
): TgiError {
  return new TgiError('malformed', `${label}${path}: expected at most ${maxBytes} bytes, got more`, { cause })
}

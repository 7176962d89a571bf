import type { ChatMessage } from '../contract/job.ts'
import { parseAddress } from './address.ts'
import type { CallOptions, CallTarget, HttpAnswer } from './call.ts'
import { call } from './call.ts'
import { TgiError } from './error.ts'
import { createQuote } from './quote.ts'
import type { GenerateOptions, GenerateRequest, Generation } from './generate.ts'
import { startGeneration } from './generate.ts'
import { createPeer } from './http.ts'
import type { ReplicaInfo } from './info.ts'
import { parseInfo } from './info.ts'
import { jsonOf } from './json.ts'
import { refusalOf } from './refusal.ts'
import type { TemplatedChat, TokenSpan } from './tokenize.ts'
import { chatTokenize, tokenize } from './tokenize.ts'

/** Where a TGI server is and how to get in. */
export interface TgiClientOptions {
  /** http or https; a path is put in front of every route. */
  readonly url: string
  /** Sent as a Bearer token; appears in no message. */
  readonly apiKey?: string | undefined
  /**
   * How long a connection may take to be made (ms). undici looks every half second, so it may be up to one longer.
   * @defaultValue 2000
   */
  readonly connectTimeoutMs?: number | undefined
}

/** One TGI server. No two calls share a connection at a time; a generation that ended well leaves its to the next. */
export interface TgiClient {
  /** Origin and path prefix without credentials, for logs. */
  readonly url: string
  /** Resolves when the server calls itself healthy, else throws: `unhealthy`, `connect`, `timeout`, `not_tgi`, …. */
  health(options?: CallOptions): Promise<void>
  /** What the server says of itself; `not_tgi`, with what was got, when that is not TGI's `/info`. */
  info(options?: CallOptions): Promise<ReplicaInfo>
  /** The tokens that a generation of `inputs` would feed. */
  tokenize(inputs: string, options?: CallOptions): Promise<readonly TokenSpan[]>
  /** The prompt that the model's own template makes of `messages`, and its tokens. */
  chatTokenize(messages: readonly ChatMessage[], options?: CallOptions): Promise<TemplatedChat>
  /** The text of `/metrics`, which TGI serves without a key; at most 4 MiB, else `malformed`. */
  metrics(options?: CallOptions): Promise<string>
  /** Starts to generate; nothing is thrown here, `done` reports everything. */
  generate(request: GenerateRequest, options: GenerateOptions): Generation
  /** Breaks off what is under way (`disconnected`); resolves when no socket is left. May be called again. */
  close(): Promise<void>
}

const DEFAULT_CONNECT_TIMEOUT_MS = 2000
/** Of `/health` and `/info`: TGI sends 1 KB at most, and a proxy in front of it a page. */
const MAX_CONTROL_BYTES = 64 * 1024
/** A warm replica has some 1,900 lines of 100 bytes (TGI 3.3.7, one histogram has 1,024 buckets). */
const MAX_METRICS_BYTES = 4 * 1024 * 1024

/** Makes a client; nothing is connected yet. Throws `CONFIG` for an address or a key that cannot work. */
export function createTgiClient(options: TgiClientOptions): TgiClient {
  const address = parseAddress(options.url, options.apiKey)
  const peer = createPeer(address, options.connectTimeoutMs ?? DEFAULT_CONNECT_TIMEOUT_MS)
  const target: CallTarget = { peer, label: address.label, quote: createQuote(address.secrets) }
  return {
    url: address.label,
    health: (callOptions) => health(target, callOptions),
    info: (callOptions) => info(target, callOptions),
    tokenize: (inputs, callOptions) => tokenize(target, inputs, callOptions),
    chatTokenize: (messages, callOptions) => chatTokenize(target, messages, callOptions),
    metrics: (callOptions) => metrics(target, callOptions),
    generate: (request, generateOptions) => startGeneration(target, request, generateOptions),
    close: () => peer.close(),
  }
}

async function health(target: CallTarget, options: CallOptions | undefined): Promise<void> {
  const answer = await call(target, { method: 'GET', path: '/health', maxBytes: MAX_CONTROL_BYTES }, options)
  if (answer.status === 200) return
  // 503 is TGI's word for it, and a proxy's for a server that is gone.
  if (answer.status === 503)
    throw new TgiError('unhealthy', `${target.label} is not healthy`, { status: 503 })
  throw refusalOf(answer, target.label, target.quote)
}

async function info(target: CallTarget, options: CallOptions | undefined): Promise<ReplicaInfo> {
  const request = { method: 'GET', path: '/info', maxBytes: MAX_CONTROL_BYTES } as const
  const answer = await call(target, request, options).catch((error: unknown) => {
    // The only fault of shape that a call can see: too long an answer.
    if (!(error instanceof TgiError) || error.kind !== 'malformed') throw error
    throw new TgiError('not_tgi', `expected TGI at ${target.label}, got too long an answer`, { cause: error })
  })
  const refused = answer.status === 401 || answer.status >= 500
  if (refused) throw refusalOf(answer, target.label, target.quote)
  const parsed = answer.status === 200 ? parseInfo(jsonOf(answer.text)) : undefined
  if (parsed !== undefined) return parsed
  throw new TgiError('not_tgi', `expected TGI at ${target.label}, got ${describe(answer, target)}`, {
    status: answer.status === 200 ? undefined : answer.status,
  })
}

async function metrics(target: CallTarget, options: CallOptions | undefined): Promise<string> {
  const answer = await call(target, { method: 'GET', path: '/metrics', maxBytes: MAX_METRICS_BYTES }, options)
  if (answer.status === 200) return answer.text
  throw refusalOf(answer, target.label, target.quote)
}

function describe({ status, contentType, text }: HttpAnswer, target: CallTarget): string {
  const body = text === '' ? 'an empty body' : target.quote(text)
  return `HTTP ${status}, ${contentType === '' ? 'no content type' : target.quote(contentType)}, ${body}`
}

import type { Decoding } from './decoding.ts'
import { lowerLogprobText } from './logprob.ts'
import { tokenText } from './vocabulary.ts'

/** Ways a token can be told wrongly or oddly, by a fault. */
export interface TokenQuirks {
  readonly logprob?: string | undefined
  readonly emptyText?: boolean | undefined
  /** `data:` without its space, as TGI wrote it up to v2.0.x. */
  readonly noSpace?: boolean | undefined
  /** The text of the n-th token, from 1; undefined: its own. */
  readonly textOf?: ((token: number) => string | undefined) | undefined
}

/** What a request asks to be told. */
export interface FrameOptions {
  readonly details: boolean
  readonly topTokens: number
  /** What `generated_text` begins with: the prompt, for `return_full_text`. */
  readonly prefix: string
  readonly quirks: TokenQuirks
}

const heads = new Map<number, string>()

/** `{"id":…,"text":…,"logprob":` of a token whose text is its own. */
function head(id: number, text: string): string {
  if (text !== tokenText(id)) return `{"id":${id},"text":${JSON.stringify(text)},"logprob":`
  let known = heads.get(id)
  if (known === undefined) {
    known = `{"id":${id},"text":${JSON.stringify(text)},"logprob":`
    heads.set(id, known)
  }
  return known
}

/** The last token as JSON. */
export function tokenJson(decoding: Decoding, quirks: TokenQuirks): string {
  const logprob = quirks.logprob ?? decoding.logprob
  const text = quirks.textOf?.(decoding.tokens) ?? decoding.text
  return `${head(decoding.id, text)}${logprob},"special":${decoding.special}}`
}

/** The tokens most likely in place of the last one, itself first, as a JSON array. */
export function topTokensJson(decoding: Decoding, count: number, quirks: TokenQuirks): string {
  const others = decoding
    .alternatives(count - 1)
    .map(
      (id, index) =>
        `${head(id, tokenText(id))}${lowerLogprobText(decoding.draw, index + 1)},"special":false}`,
    )
  return `[${[tokenJson(decoding, quirks), ...others].join()}]`
}

/** `details` of the last event; the seed is a literal u64, and null when nothing was sampled. */
export function detailsJson(decoding: Decoding): string {
  const seed = decoding.sampled ? String(decoding.seed) : 'null'
  return `{"finish_reason":"${decoding.finish ?? 'length'}","generated_tokens":${decoding.tokens},"seed":${seed},"input_length":${decoding.inputTokens}}`
}

/** The whole text as JSON, as the last event and `/generate` tell it. */
export function generatedTextJson(decoding: Decoding, options: FrameOptions): string {
  return JSON.stringify(options.quirks.emptyText === true ? '' : options.prefix + decoding.generatedText)
}

const NOTHING = ',"generated_text":null,"details":null}\n\n'

/** The event of the last token, as a whole SSE frame; `isFinal` adds the text and, if asked for, the details. */
export function tokenFrame(decoding: Decoding, options: FrameOptions, isFinal: boolean): string {
  const { quirks } = options
  const start = quirks.noSpace === true ? 'data:{"index":' : 'data: {"index":'
  let frame = `${start}${decoding.tokens},"token":${tokenJson(decoding, quirks)}`
  // The key is left out, not empty, when nobody asked (router/src/lib.rs).
  if (options.topTokens > 0) frame += `,"top_tokens":${topTokensJson(decoding, options.topTokens, quirks)}`
  if (!isFinal) return frame + NOTHING
  const details = options.details ? detailsJson(decoding) : 'null'
  return `${frame},"generated_text":${generatedTextJson(decoding, options)},"details":${details}}\n\n`
}

/** A keep-alive comment, byte for byte axum's. */
export const COMMENT_FRAME = ':\n\n'

/** TGI's errors by type: the status on routes that do not stream, and the label in `tgi_request_failure`. */
export const ERRORS = {
  overloaded: { status: 429, label: 'overloaded' },
  validation: { status: 422, label: 'validation' },
  generation: { status: 424, label: 'generation' },
  incomplete_generation: { status: 500, label: 'incomplete' },
  incomplete_generation_stream: { status: 500, label: 'incomplete' },
  template_error: { status: 422, label: 'template' },
  healthcheck: { status: 503, label: 'healthcheck' },
} as const

/** An `error_type` on the wire. */
export type ErrorType = keyof typeof ERRORS

/** An error as TGI tells it, on every route. */
export function errorJson(type: ErrorType, message: string): string {
  return `{"error":${JSON.stringify(message)},"error_type":"${type}"}`
}

import { z } from 'zod'

import type { TgiErrorKind } from './error.ts'
import type { Quote } from './quote.ts'
import { TgiError } from './error.ts'

/** TGI keeps ids and counts in a u32 (router/src/lib.rs, 3.3.7). What is larger would overflow sums of counts in Redis. */
const MAX_COUNT = 4_294_967_295
const count = z.number().int().min(0).max(MAX_COUNT)

/** One token as TGI writes it (`Token`, router/src/lib.rs, TGI 3.3.7). `logprob` is null when it is not finite. */
const tokenSchema = z.object({
  id: count,
  text: z.string(),
  logprob: z.number().nullable(),
  special: z.boolean(),
})

/**
 * An event of `/generate_stream` that carries a token (`StreamResponse`). Lenient where versions differ: `index` came
 * with v1.4.0, `input_length` with v2.3.0, `top_tokens` is left out when empty. `details.seed` is no part of this: it
 * is a u64, which JSON numbers cannot hold.
 */
export const tokenFrameSchema = z.object({
  token: tokenSchema,
  top_tokens: z.array(tokenSchema).nullish(),
  generated_text: z.string().nullish(),
  details: z
    .object({
      finish_reason: z.enum(['length', 'eos_token', 'stop_sequence']),
      generated_tokens: count,
      input_length: count.nullish(),
    })
    .nullish(),
})

/** An event, or a JSON answer, that reports an error (`ErrorResponse`). */
export const errorFrameSchema = z.object({ error: z.string(), error_type: z.string() })

/** An event that carries a token. */
export type TokenFrame = z.infer<typeof tokenFrameSchema>

/** An event that reports an error. */
export type ErrorFrame = z.infer<typeof errorFrameSchema>

/** An object of JSON. */
type Fields = Readonly<Record<string, unknown>>

/** Whether a value is an object of JSON. */
export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Whether a value is an id or a count. */
export function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && Number(value) >= 0 && Number(value) <= MAX_COUNT
}

function isToken(value: unknown): boolean {
  return (
    isFields(value) &&
    isCount(value['id']) &&
    typeof value['text'] === 'string' &&
    (value['logprob'] === null || Number.isFinite(value['logprob'])) &&
    typeof value['special'] === 'boolean'
  )
}

function isDetails(value: unknown): boolean {
  if (!isFields(value)) return false
  const reason = value['finish_reason']
  const inputs = value['input_length']
  return (
    (reason === 'length' || reason === 'eos_token' || reason === 'stop_sequence') &&
    isCount(value['generated_tokens']) &&
    (inputs === undefined || inputs === null || isCount(inputs))
  )
}

/** The same as {@link tokenFrameSchema}, by hand: this runs for every token. A property test holds the two equal. */
export function isTokenFrame(value: unknown): value is TokenFrame {
  if (!isFields(value) || !isToken(value['token'])) return false
  const { generated_text: text, top_tokens: top, details } = value
  return (
    (text === null || text === undefined || typeof text === 'string') &&
    (top === undefined || top === null || (Array.isArray(top) && top.every(isToken))) &&
    (details === null || details === undefined || isDetails(details))
  )
}

/** The same as {@link errorFrameSchema}, by hand. */
export function isErrorFrame(value: unknown): value is ErrorFrame {
  return isFields(value) && typeof value['error'] === 'string' && typeof value['error_type'] === 'string'
}

/** `error_type` values (router/src/infer/mod.rs and server.rs, TGI 3.3.7); one we do not know counts as a failure. */
const KINDS: Readonly<Record<string, TgiErrorKind | undefined>> = {
  overloaded: 'overloaded',
  validation: 'validation',
  template_error: 'validation',
  missing_template_variable: 'validation',
  tool_error: 'validation',
  generation: 'generation',
  incomplete_generation: 'incomplete',
  incomplete_generation_stream: 'incomplete',
  stream_serialization_error: 'incomplete',
  healthcheck: 'unhealthy',
}

/** The kind of a TGI error; undefined for a type that TGI 3.3.7 does not have. */
export function kindOfFrame(frame: ErrorFrame): TgiErrorKind | undefined {
  return Object.hasOwn(KINDS, frame.error_type) ? KINDS[frame.error_type] : undefined
}

/**
 * The error for an error event of a stream, with TGI's own message as far as it fits. If the request itself is wrong, the message
 * does not name the server: every replica would refuse it.
 */
export function errorOfFrame(frame: ErrorFrame, label: string, quote: Quote): TgiError {
  const kind = kindOfFrame(frame) ?? 'generation'
  const said = quote(frame.error)
  return new TgiError(kind, kind === 'validation' ? said : `${label}: ${said}`)
}

import type { ChatMessage } from '../contract/job.ts'
import type { CallOptions, CallTarget } from './call.ts'
import { call } from './call.ts'
import { TgiError } from './error.ts'
import { jsonOf } from './json.ts'
import { quoteWithout } from './quote.ts'
import { refusalOf } from './refusal.ts'
import { isCount, isFields } from './wire.ts'

/**
 * A token of a prompt. `start` and `stop` are offsets in the UTF-8 bytes of the text, not in its characters (observed on TGI 3.3.7;
 * its router/src/lib.rs does not say).
 */
export interface TokenSpan {
  readonly id: number
  readonly text: string
  readonly start: number
  readonly stop: number
}

/** A chat as the model reads it. */
export interface TemplatedChat {
  readonly tokens: readonly TokenSpan[]
  readonly templatedText: string
}

/** Whether two texts are the same tokens. */
export function sameIds(
  some: readonly Pick<TokenSpan, 'id'>[],
  others: readonly Pick<TokenSpan, 'id'>[],
): boolean {
  return some.length === others.length && some.every(({ id }, index) => id === others[index]?.id)
}

/**
 * A token takes some 60 bytes of an answer, and there are at most as many as bytes in the prompt, besides those that a template adds
 * (bytes).
 */
const BYTES_PER_PROMPT_BYTE = 128
const MIN_ANSWER_BYTES = 1024 * 1024
/** Enough for TGI's longest answer, 150,000 tokens of a prompt. */
const MAX_ANSWER_BYTES = 10 * 1024 * 1024

/** The tokens that a generation of `inputs` would feed, special ones included. */
export async function tokenize(
  target: CallTarget,
  inputs: string,
  options?: CallOptions,
): Promise<readonly TokenSpan[]> {
  return post(target, '/tokenize', { inputs }, (value) => (isSpans(value) ? value : undefined), options)
}

/** The prompt and the tokens that the chat route would make of `messages`. */
export async function chatTokenize(
  target: CallTarget,
  messages: readonly ChatMessage[],
  options?: CallOptions,
): Promise<TemplatedChat> {
  return post(target, '/chat_tokenize', { messages }, parseChat, options)
}

function parseChat(value: unknown): TemplatedChat | undefined {
  if (!isFields(value)) return undefined
  const { tokenize_response: tokens, templated_text: templatedText } = value
  return isSpans(tokens) && typeof templatedText === 'string' ? { tokens, templatedText } : undefined
}

/** By hand and up to the first fault: zod makes an issue of every element, and there may be millions. */
function isSpans(value: unknown): value is TokenSpan[] {
  return (
    Array.isArray(value) &&
    value.every(
      (span) =>
        isFields(span) &&
        isCount(span['id']) &&
        typeof span['text'] === 'string' &&
        isCount(span['start']) &&
        isCount(span['stop']),
    )
  )
}

async function post<T>(
  target: CallTarget,
  path: string,
  body: unknown,
  parse: (value: unknown) => T | undefined,
  options: CallOptions | undefined,
): Promise<T> {
  const text = JSON.stringify(body)
  const wanted = MIN_ANSWER_BYTES + BYTES_PER_PROMPT_BYTE * Buffer.byteLength(text)
  const maxBytes = Math.min(wanted, MAX_ANSWER_BYTES)
  const answer = await call(target, { method: 'POST', path, body: text, maxBytes }, options)
  if (answer.status !== 200) throw refusalOf(answer, target.label, quoteWithout(target.quote, body))
  const parsed = parse(jsonOf(answer.text))
  if (parsed !== undefined) return parsed
  // The body repeats the prompt, so the error does not quote it.
  throw new TgiError('malformed', `${target.label}${path} answered with something other than tokens`)
}

import { z } from 'zod'

import type { ChatMessage } from '../contract/job.ts'
import type { CallOptions, CallTarget } from './call.ts'
import { call } from './call.ts'
import { TgiError } from './error.ts'
import { jsonOf } from './json.ts'
import { quoteWithout } from './quote.ts'
import { refusalOf } from './refusal.ts'

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

const count = z.number().int().min(0)
const spansSchema = z.array(z.object({ id: count, text: z.string(), start: count, stop: count }))
const chatSchema = z.object({ tokenize_response: spansSchema, templated_text: z.string() })

/** The tokens that a generation of `inputs` would feed, special ones included. */
export async function tokenize(
  target: CallTarget,
  inputs: string,
  options?: CallOptions,
): Promise<readonly TokenSpan[]> {
  return post(target, '/tokenize', { inputs }, spansSchema, options)
}

/** The prompt and the tokens that the chat route would make of `messages`. */
export async function chatTokenize(
  target: CallTarget,
  messages: readonly ChatMessage[],
  options?: CallOptions,
): Promise<TemplatedChat> {
  const answer = await post(target, '/chat_tokenize', { messages }, chatSchema, options)
  return { tokens: answer.tokenize_response, templatedText: answer.templated_text }
}

async function post<T>(
  target: CallTarget,
  path: string,
  body: unknown,
  schema: z.ZodType<T>,
  options: CallOptions | undefined,
): Promise<T> {
  const answer = await call(target, { method: 'POST', path, body: JSON.stringify(body) }, options)
  if (answer.status !== 200) throw refusalOf(answer, target.label, quoteWithout(target.quote, body))
  const parsed = schema.safeParse(jsonOf(answer.text))
  if (parsed.success) return parsed.data
  // zod's issues and the body repeat the prompt: neither is told, nor kept as a cause.
  throw new TgiError('malformed', `${target.label}${path} answered with something other than tokens`)
}

import type { Encoding } from './tokenizer.ts'
import { encode } from './tokenizer.ts'

/** A generation runs in slices of so many tokens at most (router/src/validation.rs, TGI 3.1.1 and later). */
const SLICE_TOKENS = 1024

/** What bounds prompt and answer. */
export interface Limits {
  readonly maxInputTokens: number
  readonly maxTotalTokens: number
}

/** One slice: the text the model sees and how many tokens may follow it before the next look at the limits. */
export interface Slice {
  readonly text: string
  readonly encoding: Encoding
  readonly inputTokens: number
  readonly length: number
}

function keepLast(text: string, encoding: Encoding, count: number): { text: string; encoding: Encoding } {
  const dropped = encoding.ids.length - count
  if (dropped <= 0) return { text, encoding }
  const start = encoding.starts[dropped] ?? text.length
  return {
    text: text.slice(start),
    encoding: {
      ids: encoding.ids.slice(dropped),
      starts: encoding.starts.slice(dropped).map((offset) => offset - start),
      ends: encoding.ends.slice(dropped).map((offset) => offset - start),
    },
  }
}

/**
 * Fits a prompt into the limits, or says why not in TGI's words. The rule on the total looks at the slice, not at
 * `max_new_tokens`, and comes first; a prompt of exactly `maxInputTokens` is fine, whatever the message says.
 */
export function planSlice(
  inputs: string,
  truncate: number | undefined,
  maxNewTokens: number | undefined,
  limits: Limits,
): Slice | string {
  const { text, encoding } = keepLast(inputs, encode(inputs, true), truncate ?? Infinity)
  const inputTokens = encoding.ids.length
  const room = Math.max(0, limits.maxTotalTokens - inputTokens)
  const length = Math.min(maxNewTokens ?? room, SLICE_TOKENS)
  if (inputTokens + length > limits.maxTotalTokens) {
    return `\`inputs\` tokens + \`max_new_tokens\` must be <= ${limits.maxTotalTokens}. Given: ${inputTokens} \`inputs\` tokens and ${length} \`max_new_tokens\``
  }
  if (inputTokens > limits.maxInputTokens) {
    return `\`inputs\` must have less than ${limits.maxInputTokens} tokens. Given: ${inputTokens}`
  }
  return { text, encoding, inputTokens, length }
}

import { z } from 'zod'
import { boundedArray } from './bounded.ts'
import { shown } from './format-issues.ts'
import { grammarSchema } from './grammar.ts'

/** The largest integer that JSON readers in every language keep exact. */
const MAX_SAFE = Number.MAX_SAFE_INTEGER
/** TGI keeps `max_new_tokens` in a u32 (router/src/lib.rs). */
const MAX_U32 = 4_294_967_295
/** TGI keeps `top_k` in an i32 (router/src/lib.rs). */
const MAX_I32 = 2_147_483_647

/** Most stop sequences; TGI takes 4 unless it was started with more. */
const MAX_STOPS = 256

/** A parameter that TGI knows and that cannot work behind a queue: only its harmless values pass. */
function only<const T extends readonly (boolean | number | null)[]>(allowed: T, why: string) {
  return z
    .literal(allowed, {
      error: (issue) => `${why}; expected ${allowed.join(' or ')}, got ${shown(issue.input)}`,
    })
    .optional()
}

/**
 * TGI's generation parameters under TGI's own names (router/src/lib.rs, v3.3.7), with two liberties that every
 * producer expects: the values that mean "off" elsewhere (`temperature: 0`, `top_p: 1`, `top_k: 0`,
 * `typical_p: 1`) are welcome here though TGI refuses them, and absent `parameters` mean greedy, never sampling.
 * Unknown keys are refused; so is, by name, what cannot work behind a queue.
 */
export const parametersSchema = z.strictObject({
  best_of: only([1, null], 'several answers to one prompt cannot be streamed'),
  temperature: z.number().min(0).nullish().describe('0 is greedy; 1 or absent leaves the logits alone'),
  repetition_penalty: z.number().positive().nullish(),
  frequency_penalty: z.number().min(-2).max(2).nullish(),
  top_k: z.number().int().min(0).max(MAX_I32).nullish().describe('0 is off'),
  top_p: z.number().gt(0).max(1).nullish().describe('1 is off'),
  typical_p: z.number().gt(0).max(1).nullish().describe('1 is off'),
  do_sample: z.boolean().optional(),
  max_new_tokens: z
    .number()
    .int()
    .min(1)
    .max(MAX_U32)
    .nullish()
    .describe("the pool's default when absent; never exceeded, also above TGI's slices of 1024"),
  return_full_text: only([false, null], 'the prompt is never part of the answer'),
  stop: boundedArray(z.string().min(1), { max: MAX_STOPS })
    .optional()
    .describe('kept in the answer, as TGI does'),
  truncate: only([null], 'prompts are never cut silently'),
  watermark: z.boolean().optional(),
  details: only([true], 'details are always on'),
  decoder_input_details: only([false], 'TGI refuses it when streaming'),
  seed: z
    .number()
    .int()
    .min(0)
    .max(MAX_SAFE)
    .nullish()
    .describe('absent: the first 53 bits of the SHA-256 of the job id'),
  top_n_tokens: z.number().int().min(0).max(MAX_U32).nullish(),
  grammar: grammarSchema.nullish(),
  adapter_id: z
    .string()
    .min(1)
    .nullish()
    .describe('TGI does not check it: an unknown id runs the base model'),
})

/** Generation parameters as a job carries them, already checked. */
export type Parameters = z.infer<typeof parametersSchema>

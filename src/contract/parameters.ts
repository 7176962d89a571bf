import { z } from 'zod'
import { boundedArray } from './bounded.ts'
import { PARAMETER_HINTS } from './field-hints.ts'
import { shown } from './shown.ts'
import { strictFields } from './unknown-fields.ts'
import { grammarSchema } from './grammar.ts'

export type { GenerationParameters } from './wire-types.ts'

/** The largest integer that JSON readers in every language keep exact. */
const MAX_SAFE = Number.MAX_SAFE_INTEGER
/** TGI keeps `max_new_tokens` in a u32 (router/src/lib.rs). */
const MAX_U32 = 4_294_967_295
/** TGI keeps `top_k` in an i32 (router/src/lib.rs). */
const MAX_I32 = 2_147_483_647

/** Maximum stop sequences; TGI accepts 4 unless it was started with more. */
const MAX_STOPS = 256

/** A TGI parameter that cannot work behind a queue: only its no-op values are accepted. */
function only<const T extends readonly (boolean | number | null)[]>(allowed: T, why: string) {
  return z
    .literal(allowed, {
      error: (issue) => `${why}; expected ${allowed.map(String).join(' or ')}, got ${shown(issue.input)}`,
    })
    .optional()
    .describe(`Leave it out: ${why}`)
}

/**
 * TGI's generation parameters under TGI's own names (router/src/lib.rs, v3.3.7), with two differences: the values that
 * usually mean "off" (`temperature: 0`, `top_p: 1`, `top_k: 0`, `typical_p: 1`) are accepted although TGI refuses them,
 * and absent `parameters` mean greedy decoding. Unknown keys are refused; so are, by name, parameters that cannot work
 * behind a queue.
 */
export const parametersSchema = strictFields(
  {
    best_of: only([1, null], 'several answers to one prompt cannot be streamed'),
    temperature: z
      .number()
      .min(0)
      .nullish()
      .describe(
        'Flattens (above 1) or sharpens (below 1) the distribution that tokens are drawn from. Any value but 0 and 1 turns sampling on. 0 is greedy; 1 or absent leaves the logits unchanged',
      ),
    repetition_penalty: z
      .number()
      .positive()
      .nullish()
      .describe(
        'Above 1, tokens that occur in the prompt or the answer become less likely. 1 or absent is off',
      ),
    frequency_penalty: z
      .number()
      .min(-2)
      .max(2)
      .nullish()
      .describe(
        'Above 0, tokens become less likely the more often they occur in the answer. 0 or absent is off',
      ),
    top_k: z
      .number()
      .int()
      .min(0)
      .max(MAX_I32)
      .nullish()
      .describe('Samples only among this many most likely tokens. 0 or absent is off'),
    top_p: z
      .number()
      .gt(0)
      .max(1)
      .nullish()
      .describe(
        'Samples among the most likely tokens whose probabilities add up to this. 1 or absent is off',
      ),
    typical_p: z
      .number()
      .gt(0)
      .max(1)
      .nullish()
      .describe(
        'Samples among the most typical tokens whose probabilities add up to this. 1 or absent is off',
      ),
    do_sample: z
      .boolean()
      .optional()
      .describe(
        'Whether tokens are sampled (using the seed). Absent or false: greedy, unless `temperature`, `top_k`, `top_p` or `typical_p` turns sampling on',
      ),
    max_new_tokens: z
      .number()
      .int()
      .min(1)
      .max(MAX_U32)
      .nullish()
      .describe(
        "Maximum tokens of the answer; never exceeded. At most the pool's `max_max_new_tokens`. Absent: the pool's `max_new_tokens`",
      ),
    return_full_text: only([false, null], 'the prompt is never part of the answer'),
    stop: boundedArray(z.string().min(1), { max: MAX_STOPS })
      .optional()
      .describe(
        'Texts that end the answer; they stay in it, as in TGI. TGI accepts 4 unless it was started with more',
      ),
    truncate: only([null], 'prompts are never cut silently'),
    watermark: z.boolean().optional().describe("Adds TGI's watermark to the answer (Kirchenbauer et al.)"),
    details: only([true], 'details are always on'),
    decoder_input_details: only([false], 'TGI refuses it when streaming'),
    seed: z
      .number()
      .int()
      .min(0)
      .max(MAX_SAFE)
      .nullish()
      .describe(
        'Makes sampling repeatable on the same build and model. Absent: the first 53 bits of the SHA-256 of the job id',
      ),
    top_n_tokens: z
      .number()
      .int()
      .min(0)
      .max(MAX_U32)
      .nullish()
      .describe(
        'How many of the most likely tokens each `token` event lists in `top`. TGI allows 5 unless it was started with more; 0 or absent: none',
      ),
    grammar: grammarSchema
      .nullish()
      .describe('A JSON Schema or a regex that the answer must match. Checked before the job is queued'),
    adapter_id: z
      .string()
      .min(1)
      .nullish()
      .describe('The LoRA adapter to use. TGI does not check it: an unknown id runs the base model'),
  },
  PARAMETER_HINTS,
)

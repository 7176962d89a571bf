import { jsonGrammarFlaw } from '../contract/json-grammar.ts'
import { isJsonObject } from '../contract/json-schema.ts'
import type { Limits, Slice } from './budget.ts'
import { planSlice } from './budget.ts'
import type { Grammar } from './grammar.ts'
import { JsonReader } from './json-reader.ts'
import { JsonFlaw } from './json-scanner.ts'
import type { GenerateParameters, GenerateRequest } from './request.ts'
import { asksForSampling } from './sampling.ts'

/** The limits a request is held against. */
export interface ValidationLimits extends Limits {
  readonly maxBestOf: number
  readonly maxStopSequences: number
  readonly maxTopNTokens: number
}

/** What `/generate_stream` refuses before it asks for a permit (router/src/server.rs). */
export function refusedWhenStreaming(parameters: GenerateParameters): string | undefined {
  if (parameters.best_of !== undefined && parameters.best_of !== 1) {
    return '`best_of` != 1 is not supported when streaming tokens'
  }
  return parameters.decoder_input_details
    ? '`decoder_input_details` == true is not supported when streaming tokens'
    : undefined
}

/** What `/generate` refuses before it asks for permits. */
export function refusedBestOf(bestOf: number | undefined, maxBestOf: number): string | undefined {
  if (bestOf === undefined || bestOf <= 1 || bestOf <= maxBestOf) return undefined
  return maxBestOf === 1
    ? '`best_of` != 1 is not allowed for this endpoint'
    : `\`best_of\` must be > 0 and <= ${maxBestOf}. Given: ${bestOf}`
}

/** TGI's refusal of a grammar, if any; TGI does not check a regex. */
function refusedGrammar(grammar: Grammar): string | undefined {
  if (grammar.type === 'regex') return undefined
  let schema: unknown = grammar.type === 'json_schema' ? grammar.value.schema : grammar.value
  if (grammar.type === 'json' && typeof schema === 'string') {
    const parsed = parseText(schema)
    if (parsed.flaw !== undefined) return `grammar is not valid: ${parsed.flaw}`
    schema = parsed.value
  } else if (grammar.type === 'json' && !isJsonObject(schema)) return 'grammar is not supported'
  const flaw = jsonGrammarFlaw(schema)
  if (flaw === undefined) return undefined
  // These would crash the router; the simulator refuses them instead.
  if (flaw.kind !== 'invalid') return `cannot compile regex from schema: ${flaw.message}`
  const value = 'value' in flaw ? `${JSON.stringify(flaw.value)} ` : ''
  return `grammar is not valid: ${value}${flaw.message}`
}

/** The value of a JSON text, or why it is invalid. */
function parseText(text: string): { readonly value?: unknown; readonly flaw?: string } {
  const reader = new JsonReader(Buffer.from(text))
  try {
    const value = reader.any()
    if (reader.peek() !== -1) throw reader.syntax('trailing characters')
    return { value }
  } catch (error) {
    if (!(error instanceof JsonFlaw)) throw error
    return { flaw: `${error.message} at ${reader.placeOf(error.offset ?? 0)}` }
  }
}

/** The rules on single values, in the order TGI tests them (router/src/validation.rs, 3.3.7). */
const RULES: readonly ((given: GenerateParameters, limits: ValidationLimits) => string | false)[] = [
  (given) =>
    (given.best_of ?? 1) > 1 && !asksForSampling(given) && 'you must use sampling when `best_of` is > 1',
  ({ temperature = 1 }) => temperature <= 0 && '`temperature` must be strictly positive',
  ({ repetition_penalty = 1 }) => repetition_penalty <= 0 && '`repetition_penalty` must be strictly positive',
  ({ frequency_penalty = 0 }) =>
    (frequency_penalty < -2 || frequency_penalty > 2) && '`frequency_penalty` must be >= -2.0 and <= 2.0',
  ({ top_p = 0.5 }) => (top_p <= 0 || top_p >= 1) && '`top_p` must be > 0.0 and < 1.0',
  ({ typical_p = 0.5 }) => (typical_p <= 0 || typical_p >= 1) && '`typical_p` must be > 0.0 and < 1.0',
  ({ top_k = 1 }) => top_k <= 0 && '`top_k` must be strictly positive',
  ({ max_new_tokens = 1 }) => max_new_tokens === 0 && '`max_new_tokens` must be strictly positive',
  ({ stop }, { maxStopSequences }) =>
    stop.length > maxStopSequences &&
    `\`stop\` supports up to ${maxStopSequences} stop sequences. Given: ${stop.length}`,
  ({ best_of = 1, seed }) => best_of > 1 && seed !== undefined && '`seed` must not be set when `best_of` > 1',
  ({ top_n_tokens = 0 }, { maxTopNTokens }) =>
    top_n_tokens > maxTopNTokens &&
    `\`top_n_tokens\` must be >= 0 and <= ${maxTopNTokens}. Given: ${top_n_tokens}`,
]

/**
 * Holds a request against the rules, in TGI's order: the slice to run first, or the message of the first rule broken,
 * without its prefix `Input validation error: `.
 */
export function validate(request: GenerateRequest, limits: ValidationLimits): Slice | string {
  const { inputs, parameters } = request
  for (const rule of RULES) {
    const message = rule(parameters, limits)
    if (message !== false) return message
  }
  if (inputs === '') return '`inputs` cannot be empty'
  const { truncate } = parameters
  if (truncate !== undefined && (truncate === 0 || truncate > limits.maxInputTokens)) {
    return `\`truncate\` must be strictly positive and less than ${limits.maxInputTokens}. Given: ${truncate}`
  }
  const slice = planSlice(inputs, truncate, parameters.max_new_tokens, limits)
  if (typeof slice === 'string' || parameters.grammar === undefined) return slice
  return refusedGrammar(parameters.grammar) ?? slice
}

import type { GenerationParameters } from '../contract/parameters.ts'

/** `parameters` as they go to TGI. Their absence would switch sampling on, so they are always there. */
export interface TgiParameters {
  readonly details: true
  readonly do_sample: boolean
  readonly seed: number
  readonly max_new_tokens: number
  readonly [name: string]: unknown
}

/** Values that mean "off" in this field, and that TGI refuses or need not hear (router/src/validation.rs, TGI 3.3.7). */
const IDENTITIES: Readonly<Record<string, number>> = { temperature: 1, top_p: 1, top_k: 0, typical_p: 1 }

/** Every one of these makes a shard sample, whatever `do_sample` says (utils/tokens.py, TGI 3.3.7). */
const WARPERS = Object.keys(IDENTITIES) as (keyof GenerationParameters)[]

/** Fields that go through as they are, when they are there. */
const PLAIN = [
  'repetition_penalty',
  'frequency_penalty',
  'stop',
  'watermark',
  'top_n_tokens',
  'grammar',
  'adapter_id',
] as const satisfies readonly (keyof GenerationParameters)[]

/**
 * A job's parameters in TGI's dialect: identities and nulls are left out, `temperature: 0` becomes plain greedy,
 * and `details`, `do_sample`, `seed` and `max_new_tokens` are always said. `seed` has to be a safe integer.
 */
export function toTgiParameters(
  parameters: GenerationParameters,
  seed: number,
  maxNewTokens: number,
): TgiParameters {
  const greedy = parameters.temperature === 0
  const sent: Record<string, unknown> = {}
  for (const name of greedy ? PLAIN : [...WARPERS, ...PLAIN]) {
    const value = parameters[name]
    if (value !== undefined && value !== null && value !== IDENTITIES[name]) sent[name] = value
  }
  return {
    ...sent,
    do_sample: !greedy && (parameters.do_sample ?? false),
    max_new_tokens: maxNewTokens,
    seed,
    details: true,
  }
}

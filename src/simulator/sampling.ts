import { randomBytes } from 'node:crypto'
import { hashBytes, mix } from './model.ts'
import type { GenerateParameters } from './request.ts'

/**
 * Whether the shard samples: asked to, or made to by any warper. A temperature of exactly 1 is none
 * (server/text_generation_server/utils/tokens.py).
 */
export function samples(parameters: GenerateParameters): boolean {
  return (
    parameters.do_sample ||
    (parameters.temperature ?? 1) !== 1 ||
    parameters.top_k !== undefined ||
    parameters.top_p !== undefined ||
    parameters.typical_p !== undefined
  )
}

/** The router's narrower notion, used only where `best_of` is checked (router/src/validation.rs). */
export function asksForSampling(parameters: GenerateParameters): boolean {
  return samples(parameters) || parameters.temperature !== undefined
}

/** A seed where none was given: any u64. */
export function drawSeed(): bigint {
  return randomBytes(8).readBigUInt64LE()
}

const hashText = (text: string): number => mix(hashBytes(Buffer.from(text)))

/**
 * What, beside the text, decides the next token. Penalties count always; seed and warpers only where the shard samples, and not
 * with `top_k: 1`, which leaves nothing to choose. Sampling has no state: a slice restarts nothing that could be seen.
 */
export function samplingKey(parameters: GenerateParameters, seed: bigint): number {
  const penalties = [parameters.repetition_penalty ?? 1, parameters.frequency_penalty ?? 0].join()
  const bent = penalties === '1,0' ? 0 : hashText(penalties)
  if (!samples(parameters) || parameters.top_k === 1) return bent
  const warpers = [
    parameters.temperature ?? 1,
    parameters.top_k,
    parameters.top_p,
    parameters.typical_p,
  ].join()
  return bent ^ hashText(`${seed} ${warpers}`)
}

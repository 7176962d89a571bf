import type { Grammar } from './grammar.ts'
import { grammar } from './grammar.ts'
import type { Read } from './serde.ts'
import {
  bool,
  defaulted,
  f32,
  i32,
  option,
  optional,
  sequence,
  string,
  struct,
  u32,
  u64,
  usize,
} from './serde.ts'

/** `parameters` by TGI's own names; a missing or null field is undefined. */
export interface GenerateParameters {
  readonly best_of: number | undefined
  readonly temperature: number | undefined
  readonly repetition_penalty: number | undefined
  readonly frequency_penalty: number | undefined
  readonly top_k: number | undefined
  readonly top_p: number | undefined
  readonly typical_p: number | undefined
  readonly do_sample: boolean
  readonly max_new_tokens: number | undefined
  readonly return_full_text: boolean | undefined
  readonly stop: readonly string[]
  readonly truncate: number | undefined
  readonly watermark: boolean
  readonly details: boolean
  readonly decoder_input_details: boolean
  readonly seed: bigint | undefined
  readonly top_n_tokens: number | undefined
  readonly grammar: Grammar | undefined
  /** Not used: TGI runs the base model for an unknown id. */
  readonly adapter_id: string | undefined
}

/** A parsed request. */
export interface GenerateRequest {
  readonly inputs: string
  readonly parameters: GenerateParameters
  readonly stream: boolean
}

/** In the order of a positional array (router/src/lib.rs, TGI 3.3.7). */
const parameters = struct<GenerateParameters>('GenerateParameters', {
  best_of: optional(usize),
  temperature: optional(f32),
  repetition_penalty: optional(f32),
  frequency_penalty: optional(f32),
  top_k: optional(i32),
  top_p: optional(f32),
  typical_p: optional(f32),
  do_sample: defaulted(bool, false),
  max_new_tokens: optional(u32),
  return_full_text: optional(bool),
  stop: defaulted(sequence(string), []),
  truncate: optional(usize),
  watermark: defaulted(bool, false),
  details: defaulted(bool, false),
  decoder_input_details: defaulted(bool, false),
  seed: optional(u64),
  top_n_tokens: optional(u32),
  grammar: { read: option(grammar), fallback: () => undefined },
  adapter_id: optional(string),
})

/** What absent `parameters` mean: sampling, unlike `{}` (router/src/lib.rs, `default_parameters`). */
const ABSENT_PARAMETERS: GenerateParameters = {
  best_of: undefined,
  temperature: undefined,
  repetition_penalty: undefined,
  frequency_penalty: undefined,
  top_k: undefined,
  top_p: undefined,
  typical_p: undefined,
  do_sample: true,
  max_new_tokens: undefined,
  return_full_text: undefined,
  stop: [],
  truncate: undefined,
  watermark: false,
  details: false,
  decoder_input_details: false,
  seed: undefined,
  top_n_tokens: undefined,
  grammar: undefined,
  adapter_id: undefined,
}

const fields = { inputs: { read: string }, parameters: defaulted(parameters, ABSENT_PARAMETERS) }

const plain = struct<Omit<GenerateRequest, 'stream'>>('GenerateRequest', fields)

/** The body of `/generate`, `/generate_stream` and `/tokenize`; `stream` is ignored there, like any unknown key. */
export const generateRequest: Read<GenerateRequest> = (reader) => ({ ...plain(reader), stream: false })

/** The body of `POST /`. */
export const compatRequest: Read<GenerateRequest> = struct<GenerateRequest>('CompatGenerateRequest', {
  ...fields,
  stream: defaulted(bool, false),
})

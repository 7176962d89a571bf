import type { Limits, Slice } from './budget.ts'
import { planSlice } from './budget.ts'
import { logprobText } from './logprob.ts'
import type { Model } from './model.ts'
import { createModel } from './model.ts'
import type { GenerateRequest } from './request.ts'
import { drawSeed, samples, samplingKey } from './sampling.ts'
import { EOS_ID, FIRST_BYTE_ID } from './vocabulary.ts'

/** Why a generation is over. */
export type FinishReason = 'length' | 'eos_token' | 'stop_sequence'

/** What is decoded and within which limits. */
export interface DecodingOptions extends Limits {
  readonly request: GenerateRequest
  /** The first slice, from validation. */
  readonly slice: Slice
  readonly diverges: boolean
  /** The next token depends on the tokens so far, not only on their text. */
  readonly readsTokens: boolean
}

/** A window of that many characters is searched for stop sequences (server/text_generation_server/utils/tokens.py). */
const STOP_WINDOW = 300

/** One generation, token by token. A class because every field changes with every token. */
export class Decoding {
  /** The last token: its id, what it adds to the text, its logprob as JSON. */
  id = 0
  text = ''
  logprob = '-1.0'
  special = false
  /** Tokens so far, the last one included; also the `index` of its event. */
  tokens = 0
  /** Set by the last token. */
  finish: FinishReason | undefined
  /** The last token ended a slice and another has begun, which has to be prefilled. */
  resliced = false
  slice: Slice
  readonly sampled: boolean
  readonly seed: bigint
  readonly inputTokens: number
  readonly #options: DecodingOptions
  readonly #key: number
  readonly #isArgmax: boolean
  readonly #allowance: number
  readonly #stops: readonly string[]
  #model: Model
  /** The model that made the last token: the same, but where a slice has just ended. */
  #teller: Model
  #sliceTokens = 0
  #sliceText = ''
  #window = ''
  #earlierText = ''

  constructor(options: DecodingOptions) {
    const { parameters } = options.request
    this.#options = options
    this.slice = options.slice
    this.sampled = samples(parameters)
    this.seed = parameters.seed ?? drawSeed()
    this.inputTokens = options.slice.inputTokens
    this.#key = samplingKey(parameters, this.seed)
    this.#isArgmax = parameters.top_k === 1
    this.#allowance = parameters.max_new_tokens ?? options.maxTotalTokens - this.inputTokens
    this.#stops = parameters.stop
    this.#model = this.#modelOf(options.slice)
    this.#teller = this.#model
  }

  /** Pseudo-random bits of the last token. */
  get draw(): number {
    return this.#teller.draw
  }

  /** All text without special tokens; a slice that ends inside a character counts as nothing, as TGI's final decode does. */
  get generatedText(): string {
    return this.#earlierText + (this.#model.midCharacter ? '' : this.#sliceText)
  }

  /** Ids of other tokens that might have come instead of the last. */
  alternatives(count: number): readonly number[] {
    return this.#teller.alternatives(count)
  }

  /** Decodes one token while `batchSize` requests run. Call it only until `finish` is set. */
  step(batchSize: number): void {
    const model = this.#model
    this.#teller = model
    model.next(batchSize)
    this.tokens += 1
    this.#sliceTokens += 1
    this.resliced = false
    this.id = model.id
    this.text = model.text
    this.special = model.id < FIRST_BYTE_ID
    this.logprob = this.#isArgmax ? '0.0' : logprobText(model.draw)
    if (!this.special) this.#sliceText += model.text
    // The order is TGI's: a slice that ends on `</s>` has ended by its length and goes on.
    if (this.#sliceTokens === this.slice.length) this.#endSlice()
    else if (model.id === EOS_ID) this.finish = 'eos_token'
    else if (this.#stops.length > 0 && this.#stopped()) this.finish = 'stop_sequence'
  }

  #stopped(): boolean {
    this.#window = (this.#window + this.text).slice(-STOP_WINDOW)
    return this.#stops.some((stop) => this.#window.endsWith(stop))
  }

  #endSlice(): void {
    const next = this.tokens < this.#allowance ? this.#planNext() : undefined
    if (next === undefined) {
      this.finish = 'length'
      return
    }
    this.#earlierText = this.generatedText
    this.slice = next
    this.#model = this.#modelOf(next)
    this.#sliceTokens = 0
    this.#sliceText = ''
    this.#window = ''
    this.resliced = true
  }

  #planNext(): Slice | undefined {
    const { inputs, parameters } = this.#options.request
    const next = planSlice(
      inputs + this.generatedText,
      parameters.truncate,
      parameters.max_new_tokens,
      this.#options,
    )
    return typeof next === 'string' || next.length === 0 ? undefined : next
  }

  #modelOf(slice: Slice): Model {
    const { diverges, readsTokens } = this.#options
    const { text, encoding } = slice
    return createModel({ text, encoding, key: this.#key, diverges, readsTokens })
  }
}

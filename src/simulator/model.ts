import type { Choice, Way } from './sentences.ts'
import {
  followingWord,
  lastWord,
  MERGING_PAIR,
  SPELLED,
  SPELLED_EMOJI,
  UNKNOWN_WAY,
  WAYS,
} from './sentences.ts'
import type { Encoding } from './tokenizer.ts'
import { EOS_ID, FIRST_BYTE_ID, tokenText } from './vocabulary.ts'

const utf8 = new TextEncoder()

/** MurmurHash3's 32-bit finalizer: every bit of the input moves every bit of the output. */
export function mix(value: number): number {
  let hash = value ^ (value >>> 16)
  hash = Math.imul(hash, 0x85ebca6b)
  hash ^= hash >>> 13
  hash = Math.imul(hash, 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/** FNV-1a over bytes, so that a hash can be carried on from where a text ends. */
export function hashBytes(bytes: Iterable<number>, start = 0x811c9dc5): number {
  let hash = start
  for (const byte of bytes) hash = Math.imul(hash ^ byte, 0x01000193)
  return hash >>> 0
}

/** Hashes token ids as {@link hashBytes} does bytes. */
function hashIds(ids: Iterable<number>, start = 0x811c9dc5): number {
  let hash = start
  for (const id of ids) hash = Math.imul(hash ^ id, 0x01000193) >>> 0
  return hash
}

const pieceBytes = new Map<number, Uint8Array>()

function bytesOf(id: number): Uint8Array {
  let bytes = pieceBytes.get(id)
  if (bytes === undefined) {
    bytes = utf8.encode(tokenText(id))
    pieceBytes.set(id, bytes)
  }
  return bytes
}

/** Orders inside a prompt: what happens when so many tokens follow the last `]` of the text. */
interface Orders {
  readonly eos: number
  readonly merge: number
  readonly emoji: number
}

function parseOrders(text: string): Orders | undefined {
  const found = new Map<string, number>()
  for (const [, name, count] of text.matchAll(/\[(eos|merge|emoji):(\d{1,9})\]/g)) {
    if (name !== undefined) found.set(name, Number(count))
  }
  if (found.size === 0) return undefined
  return { eos: found.get('eos') ?? -1, merge: found.get('merge') ?? -1, emoji: found.get('emoji') ?? -1 }
}

/** How a text goes on. */
export interface ModelOptions {
  /** All text so far, which alone (with `key`) decides what comes next. */
  readonly text: string
  /** The tokens of that text: only for counting those after its last `]`, see below. */
  readonly encoding: Encoding
  /** Seed and sampling parameters, hashed; 0 for plain greedy. */
  readonly key: number
  /** Let the number of requests that run at once break ties, as it does on a GPU. */
  readonly diverges: boolean
  /** The next token depends on the tokens so far, not only on their text. @defaultValue false */
  readonly readsTokens?: boolean | undefined
}

/** A text that grows token by token. */
export interface Model {
  /**
   * Decodes one token. Afterwards `id`, `text` and `draw` tell it.
   * `batchSize` counts the requests that run at once; it matters only where the model diverges, and 1 never does.
   */
  next(batchSize: number): void
  readonly id: number
  /** What the token adds to the text; `''` while a character is incomplete. A special token's marker. */
  readonly text: string
  /** 32 pseudo-random bits that belong to this token, for its logprob. */
  readonly draw: number
  /** The text ends inside a character. */
  readonly midCharacter: boolean
  /** Ids of `count` other tokens that might have come. */
  alternatives(count: number): readonly number[]
}

/**
 * A language model without knowledge: the next token is a function of the whole text so far, by a rolling hash of its bytes
 * and a little grammar. So the text generated from `prompt` goes on the same when `prompt + text so far` is a new prompt,
 * under greedy decoding and under the same seed and parameters alike.
 *
 * A prompt may carry orders for tests. `[eos:N]`: `</s>` comes when N tokens follow the last `]` of the text (the vocabulary's
 * own words hold none), so a prompt that ends with it, or with a chat template's `[/INST]`, is answered by N tokens and `</s>`.
 * `[merge:N]` makes tokens N and N+1 (counted from 0) two that would be one if the text were tokenized again, and `[emoji:N]`
 * makes tokens N to N+3 the four bytes of one character.
 */
export function createModel(options: ModelOptions): Model {
  return new HashModel(options)
}

/** A class because its state changes with every token, and half a million times a second. */
class HashModel implements Model {
  id = 0
  text = ''
  draw = 0
  #hash: number
  #word: string
  #way: Way
  /** The list the last choice came from. */
  #list: readonly Choice[] = []
  /** Bytes still to come of a character that goes byte by byte. */
  #pending: Uint8Array = new Uint8Array(0)
  #spelled = ''
  /** Tokens after the last `]`, when there are orders. */
  #since = 0
  readonly #orders: Orders | undefined
  readonly #key: number
  readonly #diverges: boolean
  /** A hash of all tokens so far, if they matter. */
  #history: number | undefined

  constructor(options: ModelOptions) {
    this.#hash = hashBytes(utf8.encode(options.text))
    this.#word = lastWord(options.text)
    this.#way = WAYS.get(this.#word) ?? UNKNOWN_WAY
    this.#key = options.key
    this.#history = options.readsTokens === true ? hashIds(options.encoding.ids) : undefined
    this.#diverges = options.diverges
    this.#orders = parseOrders(options.text)
    if (this.#orders !== undefined) {
      const anchor = options.text.lastIndexOf(']') + 1
      const first = options.encoding.starts.findIndex((start) => start >= anchor && start > 0)
      this.#since = first < 0 ? 0 : options.encoding.starts.length - first
    }
  }

  get midCharacter(): boolean {
    return this.#pending.length > 0
  }

  next(batchSize: number): void {
    let draw = mix(this.#hash ^ this.#key ^ (this.#history ?? 0))
    // One token in eight stands on a knife's edge: there the company it runs in decides.
    if (this.#diverges && batchSize > 1 && (draw & 7) === 0) draw = mix(draw + batchSize)
    this.draw = draw
    if (this.#pending.length > 0) this.#nextByte()
    else this.#take(this.#ordered() ?? this.#choose(draw))
    if (this.#history !== undefined) this.#history = hashIds([this.id], this.#history)
    this.#since += 1
  }

  alternatives(count: number): readonly number[] {
    const others: number[] = []
    for (let step = 0; others.length < count; step += 1) {
      const choice = this.#list[(this.draw + step) % this.#list.length] ?? SPELLED
      const id = choice >= SPELLED || step >= this.#list.length ? FIRST_BYTE_ID + (step % 256) : choice
      if (id !== this.id && !others.includes(id)) others.push(id)
    }
    return others
  }

  #ordered(): Choice | undefined {
    const orders = this.#orders
    if (orders === undefined) return undefined
    if (orders.eos >= 0 && this.#since >= orders.eos) return EOS_ID
    if (this.#since === orders.merge) return MERGING_PAIR[0]
    if (this.#since === orders.merge + 1 && this.#word === tokenText(MERGING_PAIR[0])) return MERGING_PAIR[1]
    return this.#since === orders.emoji ? SPELLED_EMOJI : undefined
  }

  #choose(draw: number): Choice {
    const { endings, next } = this.#way
    this.#list = endings.length > 0 && draw >>> 28 === 0 ? endings : (next[draw & 15] ?? [])
    return this.#list[(draw >>> 4) % this.#list.length] ?? EOS_ID
  }

  #take(choice: Choice): void {
    if (choice >= SPELLED) {
      this.#spelled = String.fromCodePoint(choice - SPELLED)
      this.#pending = utf8.encode(this.#spelled)
      this.#nextByte()
      return
    }
    this.id = choice
    this.text = tokenText(choice)
    if (choice === EOS_ID) return
    this.#hash = hashBytes(bytesOf(choice), this.#hash)
    this.#follow(this.text)
  }

  #nextByte(): void {
    const byte = this.#pending[0] ?? 0
    this.#pending = this.#pending.subarray(1)
    this.#hash = Math.imul(this.#hash ^ byte, 0x01000193) >>> 0
    this.id = FIRST_BYTE_ID + byte
    this.text = ''
    if (this.#pending.length > 0) return
    this.text = this.#spelled
    this.#follow(this.#spelled)
  }

  #follow(piece: string): void {
    this.#word = followingWord(this.#word, piece)
    this.#way = WAYS.get(this.#word) ?? UNKNOWN_WAY
  }
}

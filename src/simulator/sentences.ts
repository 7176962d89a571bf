import { EMOJI, MERGED, pieceId, SUFFIXES, WORDS } from './vocabulary.ts'

/**
 * What may come next: a token id, or {@link SPELLED} + a code point for a character that goes byte by byte.
 */
export type Choice = number

/** Added to a code point to say "this character, byte by byte". */
export const SPELLED = 0x1000000

/** The ways on from one word. */
export interface Way {
  /** Sixteen equally likely lists of choices. */
  readonly next: readonly (readonly Choice[])[]
  /** Endings, taken one time in sixteen. */
  readonly endings: readonly Choice[]
}

const KINDS = ['determiner', 'adjective', 'noun', 'verb', 'preposition', 'adverb', 'conjunction'] as const
const LIST_NAMES = [...KINDS, 'opener', 'line', 'stop', 'comma', 'paragraph', 'space', 'emoji'] as const
type Kind = (typeof KINDS)[number]
type List = (typeof LIST_NAMES)[number]

const spell = (character: string): Choice => SPELLED + (character.codePointAt(0) ?? 0)

const LISTS: Readonly<Record<List, readonly Choice[]>> = {
  determiner: WORDS.determiner.map(pieceId),
  adjective: [...WORDS.adjective, ' na'].map(pieceId),
  noun: WORDS.noun.map(pieceId),
  verb: WORDS.verb.map(pieceId),
  preposition: WORDS.preposition.map(pieceId),
  adverb: WORDS.adverb.map(pieceId),
  conjunction: WORDS.conjunction.map(pieceId),
  opener: WORDS.opener.map(pieceId),
  line: WORDS.line.map(pieceId),
  stop: ['.', '.', '.', '.', '.', '!', '?'].map(pieceId),
  comma: [pieceId(',')],
  paragraph: [pieceId('\n\n')],
  space: [pieceId(' ')],
  emoji: EMOJI.map(spell),
}

function way(shares: Partial<Record<List, number>>, endings: readonly Choice[] = []): Way {
  const next = LIST_NAMES.flatMap((list) => Array.from({ length: shares[list] ?? 0 }, () => LISTS[list]))
  if (next.length !== 16) throw new Error(`the shares of a way on must make 16, got ${next.length}`)
  return { next, endings }
}

const only = (choice: Choice): Way => ({ next: Array.from({ length: 16 }, () => [choice]), endings: [] })

const SHARES: Readonly<Record<Kind, Partial<Record<List, number>>>> = {
  determiner: { adjective: 7, noun: 9 },
  adjective: { noun: 15, adjective: 1 },
  noun: { verb: 6, preposition: 5, stop: 4, comma: 1 },
  verb: { determiner: 11, adverb: 2, preposition: 3 },
  preposition: { determiner: 16 },
  adverb: { preposition: 6, stop: 8, comma: 2 },
  conjunction: { determiner: 16 },
}

/** The way on from a word nobody knows: as from a noun. */
export const UNKNOWN_WAY = way(SHARES.noun)

/** What the last word is called when the text ends in line breaks, however many. */
const LINE_BREAK = '\n\n'
/** What it is called when the text ends in a space after the end of a sentence. */
const SPACE_AFTER_STOP = '. '

/**
 * The ways on by the text's last word (with its leading space), its last character, {@link LINE_BREAK} or
 * {@link SPACE_AFTER_STOP}. It is the text that decides, never how it was cut into tokens.
 */
export const WAYS: ReadonlyMap<string, Way> = (() => {
  const ways = new Map<string, Way>()
  for (const kind of KINDS) {
    for (const word of WORDS[kind]) {
      const endings = (SUFFIXES[word] ?? []).map(([, ending]) => pieceId(ending))
      ways.set(word, way(SHARES[kind], endings))
    }
  }
  for (const word of [...WORDS.opener, ...WORDS.line]) ways.set(word, way(SHARES.determiner))
  for (const [word, endings] of Object.entries(SUFFIXES)) {
    for (const [kind, ending] of endings) ways.set(word + ending, way(SHARES[kind]))
  }
  ways.set(' caf', only(spell('é')))
  ways.set(' café', way(SHARES.noun))
  ways.set(' na', only(spell('ï')))
  ways.set(' naï', only(pieceId('ve')))
  ways.set(' naïve', way(SHARES.adjective))
  for (const stop of ['.', '!', '?']) ways.set(stop, way({ opener: 13, paragraph: 2, space: 1 }))
  for (const emoji of EMOJI) ways.set(emoji, way({ opener: 13, paragraph: 3 }))
  ways.set(',', way({ conjunction: 16 }))
  ways.set(LINE_BREAK, way({ line: 16 }))
  ways.set(' ', way({ line: 16 }))
  ways.set(SPACE_AFTER_STOP, way({ emoji: 16 }))
  return ways
})()

/** The two tokens that a second tokenization would make one of. */
export const MERGING_PAIR: readonly [Choice, Choice] = [
  pieceId(' some'),
  pieceId(MERGED[0].slice(' some'.length)),
]

/** A character of four bytes. */
export const SPELLED_EMOJI = spell(EMOJI[0])

/** The last word of a text, as {@link WAYS} names it. */
export function lastWord(text: string): string {
  if (text.endsWith('\n')) return LINE_BREAK
  const tail = text.slice(-64)
  const word = / ?\p{L}+$/u.exec(tail)?.[0]
  if (word !== undefined) return word
  if (/[.!?] $/.test(tail)) return SPACE_AFTER_STOP
  return /.$/su.exec(tail)?.[0] ?? ''
}

/** {@link lastWord} after one more piece that a way on led to, without looking at the whole text again. */
export function followingWord(word: string, piece: string): string {
  if (piece === ' ') return word === '.' || word === '!' || word === '?' ? SPACE_AFTER_STOP : ' '
  const unit = piece.charCodeAt(0)
  const isLowerCase = (unit >= 0x61 && unit <= 0x7a) || unit === 0xe9 || unit === 0xef
  return isLowerCase ? word + piece : piece
}

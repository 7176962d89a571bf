/**
 * The simulator's vocabulary, laid out like a Llama one: special tokens, 256 byte tokens for what no piece covers,
 * then pieces. Words carry their leading space, so a text splits back into the pieces it was made of, but for
 * the merging pairs: `" some"` + `"thing"` is two tokens when generated and one, `" something"`, when the text is
 * tokenized again. Real tokenizers do that too, and it is what a proof of token boundaries has to notice.
 */

/** `<s>`, put in front of every prompt. */
export const BOS_ID = 1
/** `</s>`, the end-of-sequence token. */
export const EOS_ID = 2
/** Byte `b` has the id `FIRST_BYTE_ID + b`. */
export const FIRST_BYTE_ID = 3
/** The first id of a piece. */
export const FIRST_PIECE_ID = FIRST_BYTE_ID + 256

/** The special tokens' texts by id. */
export const SPECIAL_TEXTS = ['<unk>', '<s>', '</s>'] as const

const words = (text: string): readonly string[] => text.trim().split(/\s+/)
const spaced = (text: string): readonly string[] => words(text).map((word) => ` ${word}`)

/** Words of the generated text by the part they play in a sentence. */
export const WORDS = {
  determiner: spaced('the the the each one our every this that some'),
  opener: spaced('The The Each One Our Every This'),
  /** What opens a line, so without a space. */
  line: words('The Each One Our Every This'),
  adjective:
    spaced(`small old quiet warm blue green silver wooden early late gentle bright slow quick calm clear
    narrow hidden distant familiar curious patient honest ordinary careful hollow golden little open long`),
  noun: spaced(`river lantern garden window table letter train bridge harbor mountain forest kitchen teacher baker
    sailor doctor neighbor child friend story song question answer machine engine signal message cloud storm
    winter summer morning evening road field stone tree bird fox cat ship island clock book map door house
    market village city school street lamp boat coat mirror shadow memory promise secret idea number pattern
    moon sun star ocean shore valley path gate caf`),
  verb: spaced(`finds keeps carries opens follows remembers watches builds crosses reaches paints counts repairs
    answers leaves brings holds hears draws guards meets turns lifts calls shows visits studies plants reads
    writes`),
  preposition: spaced(`under over near beside behind across along through inside beyond around between above
    without toward after before about with from`),
  adverb: spaced('again slowly softly often always together today gladly soon twice'),
  conjunction: spaced('and while because until but so'),
} as const

/** Endings by the word they may follow; each makes a word of the class named first. */
export const SUFFIXES: Readonly<Record<string, readonly (readonly ['noun' | 'adverb', string])[]>> = {
  ' some': [['noun', 'thing']],
  ' every': [['noun', 'thing']],
  ' quick': [['adverb', 'ly']],
  ' quiet': [['adverb', 'ly']],
  ' calm': [['adverb', 'ly']],
  ' clear': [['adverb', 'ly']],
  ' patient': [['adverb', 'ly']],
  ' river': [['noun', 's']],
  ' lantern': [['noun', 's']],
  ' bridge': [['noun', 's']],
  ' letter': [['noun', 's']],
  ' song': [['noun', 's']],
  ' star': [['noun', 's']],
  ' tree': [['noun', 's']],
  ' cloud': [['noun', 's']],
}

/** Pieces that two other pieces make: where a text splits otherwise than it was generated. */
export const MERGED = [' something', ' everything', ' quickly'] as const

/** Characters outside ASCII that the text may hold; they have no piece and go byte by byte. */
export const EMOJI = ['🙂', '🌙', '✨', '🦊'] as const

/** Fragments that only prompts are made of. */
const FRAGMENTS =
  words(`th he in er an re on at en nd ti es or te of ed is it al ar st to nt ng se ha as ou io le ve co
  me de hi ri ro ic ne ea ra ce li ch ll be ma si om ur ing tion and the ent ion her for tha ment ould ght ell
  pro con ver all you are was his not but ome ess`)
const PROMPT_WORDS =
  spaced(`a to of in is it I you he she we they be was are were for on as at by an or not what which who
  when where why how can will would could should do does did have has had me my your his her its their us tell
  write please make give say explain describe list short poem word words sentence hello world there here`)

function distinctPieces(): readonly string[] {
  const ascii = Array.from({ length: 95 }, (_, index) => String.fromCharCode(32 + index))
  const endings = Object.values(SUFFIXES).flatMap((list) => list.map(([, text]) => text))
  const all = [
    ascii,
    ['\n', '\n\n'],
    Object.values(WORDS).flat(),
    endings,
    MERGED,
    ['ve', ' na'],
    FRAGMENTS,
    PROMPT_WORDS,
  ]
  return [...new Set(all.flat())]
}

/** Every piece; the one at index `i` has the id `FIRST_PIECE_ID + i`. */
export const PIECES = distinctPieces()

const idsByPiece = new Map(PIECES.map((piece, index) => [piece, FIRST_PIECE_ID + index]))

/** The id of a piece that is in the vocabulary; anything else is a mistake in this room and throws. */
export function pieceId(piece: string): number {
  const id = idsByPiece.get(piece)
  if (id === undefined) throw new Error(`the vocabulary has no piece ${JSON.stringify(piece)}`)
  return id
}

/** A token's own text: a special token's marker, a piece, or `''` for a byte, which means nothing alone. */
export function tokenText(id: number): string {
  if (id < FIRST_BYTE_ID) return SPECIAL_TEXTS[id] ?? ''
  return PIECES[id - FIRST_PIECE_ID] ?? ''
}

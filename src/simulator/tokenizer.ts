import { BOS_ID, EOS_ID, FIRST_BYTE_ID, FIRST_PIECE_ID, PIECES, SPECIAL_TEXTS } from './vocabulary.ts'

interface Node {
  readonly next: Map<number, Node>
  id: number
}

/** A text cut into tokens. `starts` and `ends` are UTF-16 offsets into it; all bytes of a character share its own. */
export interface Encoding {
  readonly ids: readonly number[]
  readonly starts: readonly number[]
  readonly ends: readonly number[]
}

/** One entry of `/tokenize`; `start` and `stop` count UTF-8 bytes, as TGI's do. */
export interface SimpleToken {
  readonly id: number
  readonly text: string
  readonly start: number
  readonly stop: number
}

const root: Node = { next: new Map(), id: -1 }

function plant(text: string, id: number): void {
  let node = root
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at)
    let child = node.next.get(unit)
    if (child === undefined) {
      child = { next: new Map(), id: -1 }
      node.next.set(unit, child)
    }
    node = child
  }
  node.id = id
}

for (const [index, piece] of PIECES.entries()) plant(piece, FIRST_PIECE_ID + index)
// Special tokens are found inside texts too, as Hugging Face's added tokens are: hence doubled BOS tokens.
plant(SPECIAL_TEXTS[BOS_ID], BOS_ID)
plant(SPECIAL_TEXTS[EOS_ID], EOS_ID)

const utf8 = new TextEncoder()

/**
 * Cuts a text into tokens: at every place the longest piece, else the character's UTF-8 bytes.
 * `addSpecialTokens` puts `<s>` in front, as TGI does for `/generate*` and `/tokenize` (router/src/lib.rs).
 */
export function encode(text: string, addSpecialTokens: boolean): Encoding {
  const ids: number[] = addSpecialTokens ? [BOS_ID] : []
  const starts: number[] = addSpecialTokens ? [0] : []
  const ends: number[] = addSpecialTokens ? [0] : []
  let at = 0
  while (at < text.length) {
    let end = at
    let id = -1
    let node = root.next.get(text.charCodeAt(at))
    for (let ahead = at + 1; node !== undefined; ahead += 1) {
      if (node.id >= 0) {
        id = node.id
        end = ahead
      }
      node = node.next.get(text.charCodeAt(ahead))
    }
    if (id >= 0) {
      ids.push(id)
      starts.push(at)
      ends.push(end)
      at = end
      continue
    }
    const character = String.fromCodePoint(text.codePointAt(at) ?? 0)
    for (const byte of utf8.encode(character)) {
      ids.push(FIRST_BYTE_ID + byte)
      starts.push(at)
      ends.push(at + character.length)
    }
    at += character.length
  }
  return { ids, starts, ends }
}

/** How many characters (Unicode scalars) a text has. */
export function countCharacters(text: string): number {
  let count = text.length
  for (let at = 0; at < text.length; at += 1) {
    const unit = text.charCodeAt(at)
    if (unit >= 0xd800 && unit <= 0xdbff) count -= 1
  }
  return count
}

/** The tokens of a text as `/tokenize` tells them: `text` is what the offsets cut out, so `''` for an added `<s>`. */
export function simpleTokens(text: string, encoding: Encoding): readonly SimpleToken[] {
  let units = 0
  let bytes = 0
  return encoding.ids.map((id, index) => {
    const start = encoding.starts[index] ?? 0
    const piece = text.slice(start, encoding.ends[index])
    bytes += Buffer.byteLength(text.slice(units, start))
    units = start
    return { id, text: piece, start: bytes, stop: bytes + Buffer.byteLength(piece) }
  })
}

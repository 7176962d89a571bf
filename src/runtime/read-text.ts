/**
 * Text from outside the command: UTF-8, or UTF-16 with a byte order mark, as PowerShell writes it. Anything else is refused by
 * name, so that no prompt runs with U+FFFD in place of a character.
 */
import { PoolError } from '../contract/error.ts'

/** First bytes of common files that are not text, and what to do about them. */
const OTHERS: readonly (readonly [string, string])[] = [
  ['1f8b', 'gzip. Unpack it: gzip -dc FILE | tgi-pool …'],
  ['28b52ffd', 'zstd. Unpack it: zstd -dc FILE | tgi-pool …'],
  ['425a68', 'bzip2. Unpack it: bzip2 -dc FILE | tgi-pool …'],
  ['fd377a585a00', 'xz. Unpack it: xz -dc FILE | tgi-pool …'],
  ['504b0304', 'a ZIP archive or a spreadsheet. Unpack or export it as UTF-8 text'],
  ['d0cf11e0', 'a spreadsheet. Export it as UTF-8 text'],
  ['50415231', 'Parquet. Convert it to UTF-8 text'],
  ['fffe0000', 'UTF-32. Save it as UTF-8'],
  ['0000feff', 'UTF-32. Save it as UTF-8'],
]
/** How many bytes identify any of these. */
const HEAD_BYTES = 6

/** The encoding that a byte order mark names; every decoder here skips the mark of UTF-8. */
function encodingOf(head: Buffer): 'utf-16le' | 'utf-16be' | 'utf-8' {
  const mark = head.toString('hex', 0, 2)
  return mark === 'fffe' ? 'utf-16le' : mark === 'feff' ? 'utf-16be' : 'utf-8'
}

function refuseOthers(head: Buffer, what: string): void {
  const hex = head.toString('hex')
  const other = OTHERS.find(([magic]) => hex.startsWith(magic))
  if (other !== undefined) throw invalid(`${what}: expected text in UTF-8, got ${other[1]}`)
  // Two characters of ASCII in UTF-16.
  if (/^(?:00(?!00)..00(?!00)..|(?!00)..00(?!00)..00)/.test(hex)) {
    throw invalid(
      `${what}: expected UTF-8, got what looks like UTF-16 without a byte order mark. Save it as UTF-8`,
    )
  }
}

function invalid(message: string): PoolError {
  return new PoolError('INVALID_PARAMS', message)
}

/**
 * Decodes a whole text, without its byte order mark.
 *
 * @throws {@link PoolError} `INVALID_PARAMS` that begins with `what` and names the encoding
 */
export function decodeText(bytes: Buffer, what: string): string {
  refuseOthers(bytes.subarray(0, HEAD_BYTES), what)
  const encoding = encodingOf(bytes)
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes)
  } catch {
    const where = encoding === 'utf-8' ? ` from byte ${badByteOf(bytes)} on` : ''
    throw invalid(`${what}: expected ${encoding.toUpperCase()}, got other bytes${where}. Save it as UTF-8`)
  }
}

/** The place, from 0, of the first byte that is not UTF-8. */
function badByteOf(bytes: Buffer): number {
  let [good, bad] = [0, bytes.length]
  while (bad - good > 1) {
    const middle = good + Math.floor((bad - good) / 2)
    try {
      // `stream`, since the cut may be inside a character.
      new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(0, middle), { stream: true })
      good = middle
    } catch {
      bad = middle
    }
  }
  // A text that ends inside a character is bad from that character's first byte on.
  for (let back = 1; back <= 3; back += 1) {
    const byte = bytes[good - back] ?? 0
    if (byte >= 0xc0) return byte >= (back === 1 ? 0xc0 : back === 2 ? 0xe0 : 0xf0) ? good - back : good
    if (byte < 0x80) break
  }
  return good
}

/**
 * Passes UTF-8 on and converts UTF-16 with a byte order mark to it.
 *
 * @throws {@link PoolError} `INVALID_PARAMS` if the first bytes are not those of a text; the decoder checks UTF-8
 */
export async function* toUtf8(input: AsyncIterable<Buffer>, what: string): AsyncGenerator<Buffer> {
  let head: Buffer | undefined = Buffer.alloc(0)
  let decoder: InstanceType<typeof TextDecoder> | undefined
  const convert = (bytes: Buffer | undefined): Buffer => {
    try {
      return Buffer.from(decoder?.decode(bytes, { stream: bytes !== undefined }) ?? '')
    } catch {
      throw invalid(
        `${what}: expected UTF-16, as its byte order mark says, got other bytes. Save it as UTF-8`,
      )
    }
  }
  const open = (first: Buffer): Buffer => {
    refuseOthers(first.subarray(0, HEAD_BYTES), what)
    const encoding = encodingOf(first)
    if (encoding !== 'utf-8') decoder = new TextDecoder(encoding, { fatal: true })
    return decoder === undefined ? first : convert(first)
  }
  for await (const chunk of input) {
    if (head === undefined) {
      yield decoder === undefined ? chunk : convert(chunk)
      continue
    }
    head = Buffer.concat([head, chunk])
    if (head.length < HEAD_BYTES) continue
    yield open(head)
    head = undefined
  }
  if (head !== undefined) yield open(head)
  if (decoder !== undefined) yield convert(undefined)
}

import { Readable } from 'node:stream'
import { gzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { isBlank, openLines, parseJsonLine } from '../../src/batch/job-lines.ts'

const JOB = '{"inputs":"caf\u00e9 \u2028 \u2029 \u0085 \u{1F600}"}'
const jobOf = (text: string): unknown => JSON.parse(text)

/** What the lines of a file say, whatever pieces it comes in. */
async function read(bytes: Buffer | string, pieceBytes = 65_536): Promise<unknown[]> {
  const whole = Buffer.from(bytes as Buffer)
  const pieces = Array.from({ length: Math.ceil(whole.length / pieceBytes) }, (_, index) =>
    whole.subarray(index * pieceBytes, (index + 1) * pieceBytes),
  )
  const seen: unknown[] = []
  for await (const line of await openLines(Readable.from(pieces), '--file')) {
    if (isBlank(line)) {
      seen.push('blank')
      continue
    }
    try {
      seen.push(parseJsonLine(line))
    } catch (error) {
      seen.push(`refused: ${(error as Error).message}`)
    }
  }
  return seen
}

const utf16le = (text: string) => Buffer.from(text, 'utf16le')
const utf16be = (text: string) => utf16le(text).swap16()
const two = [jobOf(JOB), jobOf(JOB)]

const READ: readonly (readonly [string, Buffer | string, readonly unknown[]])[] = [
  ['LF', `${JOB}\n${JOB}\n`, two],
  ['CRLF', `${JOB}\r\n${JOB}\r\n`, two],
  ['CR', `${JOB}\r${JOB}\r`, two],
  ['all three', `${JOB}\r\n\n\r${JOB}`, [two[0], 'blank', 'blank', two[1]]],
  ['no last newline', `${JOB}\n${JOB}`, two],
  ['blank lines at the end', `${JOB}\n\n \t\n`, [two[0], 'blank', 'blank']],
  ['a byte order mark', `\uFEFF${JOB}\n${JOB}\n`, two],
  ['files put together, each with its mark', `\uFEFF${JOB}\n\uFEFF${JOB}\n`, two],
  ['UTF-16LE with a mark', utf16le(`\uFEFF${JOB}\r\n${JOB}\r\n`), two],
  ['UTF-16BE with a mark', utf16be(`\uFEFF${JOB}\r\n${JOB}`), two],
  ['nothing', '', []],
  ['a blank line', '\n', ['blank']],
  ['a mark alone', '\uFEFF', ['blank']],
]

test.each(READ)('a file with %s is read, in pieces of any size', async (_, bytes, expected) => {
  for (const pieceBytes of [1, 2, 3, 7, 65_536]) expect(await read(bytes, pieceBytes)).toEqual(expected)
})

const BAD_LINES: readonly (readonly [string, Buffer | string, RegExp])[] = [
  [
    'Latin-1',
    Buffer.from('{"inputs":"SECRET caf\xe9"}', 'latin1'),
    /expected UTF-8, got other bytes from byte 21 on/,
  ],
  ['half a character', Buffer.from('7b22e2', 'hex'), /expected UTF-8, got other bytes/],
  ['a surrogate in UTF-8', Buffer.from('7b22eda0802222', 'hex'), /expected UTF-8/],
  ['NaN', '{"inputs":"SECRET","parameters":{"temperature":NaN}}', /NaN or Infinity.*\(character 47\)/],
  ['nan', '{"a":nan}', /NaN or Infinity/],
  ['-Infinity', '{"a":-Infinity}', /NaN or Infinity/],
  ['None', '{"a":None}', /a word that JSON does not have/],
  ['single quotes', "{'inputs': 'SECRET'}", /a single quote/],
  ['NUL bytes', '\0\0\0\0\0\0\0', /NUL byte|not JSON/],
  ['NUL bytes behind it', `${JOB}\0\0`, /a NUL byte/],
  ['a raw tab', '{"inputs":"a\tb"}', /raw control character.*Escape it/],
  ['a comma too many', '{"inputs":"a",}', /an extra comma or bracket/],
  ['two objects', `${JOB}${JOB}`, /one JSON object on the line, got more/],
  ['a comment', '{"inputs":"SECRET"} // SECRET', /a comment/],
  ['an end too early', '{"inputs":"SECRET', /ends too early/],
  ['text', 'SECRET', /such as \{"inputs":"a prompt"\}, got something that is not JSON/],
]

test.each(BAD_LINES)('a line with %s is refused by itself, without its content', async (_, bad, message) => {
  const bytes = Buffer.concat([
    Buffer.from(`${JOB}\n`),
    Buffer.from(bad as Buffer),
    Buffer.from(`\n${JOB}\n`),
  ])
  const lines = await read(bytes)
  expect(lines).toEqual([two[0], expect.stringMatching(message), two[1]])
  expect(String(lines[1])).not.toContain('SECRET')
})

const BAD_FILES: readonly (readonly [string, Buffer | string, RegExp])[] = [
  ['gzip', gzipSync(JOB), /--file: expected text in UTF-8, got gzip\. Unpack it/],
  ['a spreadsheet', Buffer.from('504b030414000600', 'hex'), /a ZIP archive or a spreadsheet/],
  ['UTF-16LE without a mark', utf16le(JOB), /UTF-16 without a byte order mark/],
  ['UTF-16BE without a mark', utf16be(JOB), /UTF-16 without a byte order mark/],
  ['UTF-32', Buffer.from('fffe00007b000000', 'hex'), /UTF-32/],
  ['half a surrogate pair in UTF-16', utf16le(`\uFEFF{"inputs":"SECRET \uD800 x"}`), /expected UTF-16/],
  ['a JSON array on one line', `[${JOB},${JOB}]`, /a JSON array.*lines=True/],
  ['a JSON array on many lines', `\n [\n${JOB},\n${JOB}\n]`, /a JSON array/],
  ['an object on many lines', '{\n  "inputs": "SECRET"\n}\n', /line 1: .*jq -c \. FILE/],
  ['CSV', 'inputs,max_new_tokens\nSECRET,5\n', /line 1: .*a table \(CSV\) or plain text/],
  ['CSV with a mark and semicolons', '\uFEFFinputs;max_new_tokens\r\n', /a table \(CSV\)/],
]

test.each(BAD_FILES)('a file that is %s is refused as a whole', async (_, bytes, message) => {
  for (const pieceBytes of [1, 65_536]) {
    const refusal = await read(bytes, pieceBytes).catch((error: unknown) => error)
    expect(refusal).toMatchObject({ kind: 'INVALID_PARAMS', message: expect.stringMatching(message) })
    expect(String(refusal)).not.toContain('SECRET')
  }
})

test('a line above the bound is refused, and the next is read', async () => {
  const long = Buffer.alloc(65 * 1024 * 1024, 'x')
  const lines = await read(Buffer.concat([Buffer.from('{"a":"'), long, Buffer.from(`"}\n${JOB}\n`)]))
  expect(lines).toEqual([expect.stringContaining('at most 67108864 bytes'), two[0]])
})

test('a line is there as soon as its end is', async () => {
  const input = new Readable({ read: () => undefined })
  const lines = openLines(input, '-').then((opened) => opened[Symbol.asyncIterator]())
  for (const end of ['\r', '\n', '\r\n']) {
    input.push(`${JOB}${end}`)
    const { value } = await (await lines).next()
    expect(parseJsonLine(value as Buffer)).toEqual(two[0])
  }
  input.push(null)
  expect(await (await lines).next()).toMatchObject({ value: Buffer.from('') })
  expect(await (await lines).next()).toMatchObject({ done: true })
})

/** An HTTP answer as it came over the wire. */
export interface Answer {
  readonly status: number
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>
  readonly body: string
  /** The body came to its end. */
  readonly isWhole: boolean
}

/** The answers on a connection, and what is wrong with them as HTTP. */
export interface Answers {
  readonly answers: readonly Answer[]
  readonly fault: string | undefined
}

const STATUS_LINE = /^HTTP\/1\.[01] (\d{3}) [\t\x20-\x7e\x80-\xff]*$/
const HEADER = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t\x20-\x7e\x80-\xff]*?)[ \t]*$/
const HEAD_END = '\r\n\r\n'
/** A body that a fault shows. */
const SHOWN = 80

/**
 * Reads what a server sent on one connection, strictly (RFC 9112).
 *
 * @param methods of the requests in order: the answer to HEAD has no body. Those behind the last are taken for GET.
 * @param isClosed the server has closed the connection, which ends a body without a length.
 */
export function readAnswers(bytes: Buffer, methods: readonly string[], isClosed: boolean): Answers {
  const text = bytes.toString('latin1')
  const answers: Answer[] = []
  let [at, taken] = [0, 0]
  while (at < text.length) {
    const headEnd = text.indexOf(HEAD_END, at)
    if (headEnd < 0) {
      const isStart = 'HTTP/1.'.startsWith(text.slice(at, at + 7)) || text.startsWith('HTTP/1.', at)
      return { answers, fault: isStart ? undefined : `expected a status line, got ${shown(text.slice(at))}` }
    }
    const [statusLine = '', ...lines] = text.slice(at, headEnd).split('\r\n')
    const status = Number(STATUS_LINE.exec(statusLine)?.[1])
    if (Number.isNaN(status)) return { answers, fault: `expected a status line, got ${shown(statusLine)}` }
    const headers = new Map<string, string>()
    for (const line of lines) {
      const [, name = '', value = ''] = HEADER.exec(line) ?? []
      if (name === '') return { answers, fault: `expected a header, got ${shown(line)}` }
      headers.set(name.toLowerCase(), value)
    }
    at = headEnd + HEAD_END.length
    if (status < 200) continue
    const body = readBody(text, at, { status, headers, isHead: methods[taken] === 'HEAD', isClosed })
    if (body.fault !== undefined) return { answers, fault: body.fault }
    taken += 1
    at = body.end
    answers.push({ status, headers, body: utf8(body.text), isWhole: body.isWhole })
    if (!body.isWhole) break
  }
  return { answers, fault: undefined }
}

interface Body {
  readonly text: string
  readonly end: number
  readonly isWhole: boolean
  readonly fault?: string
}

function readBody(
  text: string,
  from: number,
  answer: Pick<Answer, 'status' | 'headers'> & { readonly isHead: boolean; readonly isClosed: boolean },
): Body {
  const { status, headers, isHead, isClosed } = answer
  if (isHead || status === 204 || status === 304) return { text: '', end: from, isWhole: true }
  if (headers.get('transfer-encoding')?.toLowerCase() === 'chunked') return readChunks(text, from)
  const length = headers.get('content-length')
  // Its body ends with the connection.
  if (length === undefined) return { text: text.slice(from), end: text.length, isWhole: isClosed }
  if (!/^\d+$/.test(length)) return broken(from, `Content-Length: expected digits, got ${shown(length)}`)
  const end = from + Number(length)
  return { text: text.slice(from, end), end: Math.min(end, text.length), isWhole: end <= text.length }
}

function readChunks(text: string, from: number): Body {
  const parts: string[] = []
  for (let at = from; ;) {
    const lineEnd = text.indexOf('\r\n', at)
    if (lineEnd < 0) return { text: parts.join(''), end: text.length, isWhole: false }
    const digits = text.slice(at, lineEnd)
    if (!/^[0-9a-fA-F]+$/.test(digits)) return broken(at, `expected a chunk's size, got ${shown(digits)}`)
    const size = Number.parseInt(digits, 16)
    const end = lineEnd + 2 + size
    if (end + 2 > text.length) return { text: parts.join(''), end: text.length, isWhole: false }
    if (!text.startsWith('\r\n', end)) return broken(at, `expected a chunk of ${size} bytes, got another`)
    if (size === 0) return { text: parts.join(''), end: end + 2, isWhole: true }
    parts.push(text.slice(lineEnd + 2, end))
    at = end + 2
  }
}

function broken(at: number, fault: string): Body {
  return { text: '', end: at, isWhole: false, fault }
}

function utf8(latin1: string): string {
  return Buffer.from(latin1, 'latin1').toString('utf8')
}

function shown(text: string): string {
  return JSON.stringify(text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text)
}

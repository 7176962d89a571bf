import type { Random } from '../chaos/random.ts'
import { usualHeaders } from './request.ts'
import type { DrawContext, Shot } from './shot.ts'
import { fill } from './text.ts'

type DrawLine = string | ((random: Random) => string)

/** Header lines that are wrong, doubtful or too many. */
const HEADS: readonly DrawLine[] = [
  'Content-Length: -1',
  'Content-Length: 1e3',
  'Content-Length: 99999999999999999999',
  'Content-Length: 5\r\nContent-Length: 6',
  'Content-Length: 5, 5',
  'Content-Length: +5',
  'Content-Length: 5\r\nTransfer-Encoding: chunked',
  'Transfer-Encoding: chunked, chunked',
  'Transfer-Encoding: xchunked',
  'Transfer-Encoding : chunked',
  'Transfer-Encoding: gzip, chunked',
  'Transfer-Encoding: identity',
  'Transfer-Encoding:\tchunked',
  ' folded: a',
  'A: b\r\n c',
  'A\u0000: b',
  'A: b\u0000c',
  'A: b\rc',
  ': a',
  'no colon',
  'A: \u007f',
  'Host: 127.0.0.1',
  'Host: evil.example',
  (random) => fill(random.between(15_000, 70_000), 'a', { head: 'A: ' }),
  (random) => fill(random.between(15_000, 200_000), 'A: b', { between: '\r\n' }),
]

/** Request lines that are wrong or doubtful. */
const LINES: readonly DrawLine[] = [
  'GET / HTTP/1.1',
  'GET /livez HTTP/1.0',
  'GET /livez HTTP/0.9',
  'GET /livez',
  'GET /livez HTTP/2.0',
  'GET /livez HTTP/1.9',
  'get /livez HTTP/1.1',
  'GET  /livez HTTP/1.1',
  'GET /li vez HTTP/1.1',
  'GET http://127.0.0.1/livez HTTP/1.1',
  'GET http://evil.example/livez HTTP/1.1',
  'GET http://[::1/livez HTTP/1.1',
  'CONNECT 127.0.0.1:80 HTTP/1.1',
  'CONNECT /v1/jobs HTTP/1.1',
  'OPTIONS * HTTP/1.1',
  'GET * HTTP/1.1',
  'PRI * HTTP/2.0\r\n\r\nSM',
  '\u0016\u0003\u0001\u0002\u0000\u0001',
  '',
  '\r\n\r\nGET /livez HTTP/1.1',
  (random) => fill(random.between(100, 100_000), 'a', { head: 'GET /', tail: ' HTTP/1.1' }),
  (random) => fill(random.between(100, 100_000), 'A', { tail: ' / HTTP/1.1' }),
]

/** Bodies that fit some of the heads. */
const BODIES: readonly DrawLine[] = [
  '',
  'hello',
  '{"pool":"fuzz"}',
  '5\r\nhello\r\n0\r\n\r\n',
  '0\r\n\r\n',
  'zz\r\nhello\r\n',
  'ffffffffffffffffff\r\n',
  '-1\r\n',
  '5\r\nhelloX',
  '5\nhello\n0\n\n',
  'GET /livez HTTP/1.1\r\nHost: a\r\n\r\n',
  (random) => `5;${'a=b;'.repeat(random.between(1, 6000))}\r\nhello\r\n0\r\n\r\n`,
  (random) => `0\r\n${'A: b\r\n'.repeat(random.between(1, 4000))}\r\n`,
]

/** A request whose head or body is not as HTTP has it, or only just. */
export function drawFraming(random: Random, context: DrawContext): Shot {
  const line = random.chance(0.5) ? 'POST /v1/jobs HTTP/1.1' : textOf(random, random.pick(LINES))
  const heads = Array.from({ length: random.between(0, 3) }, () => textOf(random, random.pick(HEADS)))
  const end = random.weighted({ crlf: 8, lf: 1, none: 1 })
  const newline = end === 'lf' ? '\n' : '\r\n'
  const head = [line, ...usualHeaders(context), 'Content-Type: application/json', ...heads].join(newline)
  const text = `${head}${end === 'none' ? '' : newline + newline}${textOf(random, random.pick(BODIES))}`
  const ending = random.pick(['read', 'close', 'abort'] as const)
  return { kind: 'http', conversations: [{ pieces: [Buffer.from(text, 'latin1')], expects: 'any', ending }] }
}

function textOf(random: Random, line: DrawLine): string {
  return typeof line === 'string' ? line : line(random)
}

import type { Random } from '../chaos/random.ts'
import { CURSORS, METHODS, drawPath } from './http-routes.ts'
import { ask } from './request.ts'
import type { RequestParts } from './request.ts'
import { MARK, POOL } from './shot.ts'
import type { DrawContext, Shot } from './shot.ts'
import { fill } from './text.ts'

/** Near the bound of all headers (16 KiB). */
const LONG = 14_000

/** Draws a value of a header, or the whole of it where it is many lines. */
type DrawValue = (random: Random, context: DrawContext) => string

const longList =
  (...units: readonly string[]): DrawValue =>
  (random) =>
    fill(random.between(20, LONG), random.pick(units), { between: ',' })

const oneOf =
  (...values: readonly string[]): DrawValue =>
  (random) =>
    random.pick(values)

/** Values of every header that means something to somebody. */
const HEADERS: readonly (readonly [name: string, draw: DrawValue])[] = [
  [
    'Accept',
    longList('text/event-stream;q=0.1', 'a/b', '*/*;q=1;a="b"', ';', '"', 'text/event-stream;q=1e9'),
  ],
  [
    'Accept',
    oneOf(
      'text/event-stream;q=',
      'text/event-stream, ',
      ';;;',
      'application/json;q=0, text/event-stream;q=0',
      'text/*',
      '*',
    ),
  ],
  // A wait of more than a moment is no fault, but would be taken for one.
  ['Prefer', longList('wait', 'wait=0', 'a="', '"', 'a="\\\\', ';', ' ', 'wait =', 'respond-async')],
  ['Prefer', oneOf('wait=1', 'wait="1"', 'wait=-1', `wait=${'x'.repeat(9000)}`, `wait${' '.repeat(9000)}`)],
  ['Last-Event-ID', oneOf(...CURSORS)],
  ['Last-Event-ID', (random) => fill(random.between(100, LONG), random.pick(['1', '1-', '-', '9']))],
  [
    'Authorization',
    oneOf(
      '',
      'Bearer',
      'Bearer ',
      'bearer x',
      'Basic YTpi',
      `Bearer ${MARK}-wrong`,
      `Bearer ${'a'.repeat(12_000)}`,
      'Bearer a b',
      'Digest username="a"',
    ),
  ],
  ['Authorization', (_random, { bearer }) => `Bearer ${bearer}, Bearer ${bearer}`],
  [
    'Origin',
    oneOf(
      'null',
      'http://127.0.0.1',
      'https://evil.example',
      'file://',
      '*',
      'http://[::1',
      'a'.repeat(5000),
    ),
  ],
  [
    'Host',
    oneOf(
      '',
      '127.0.0.1:1',
      'evil.example',
      '[::1]',
      '[::1',
      'a b',
      '127.0.0.1:99999',
      'localhost',
      '@',
      `${'a.'.repeat(3000)}b`,
    ),
  ],
  [
    'Idempotency-Key',
    oneOf(
      '',
      '"',
      '""',
      '"a',
      'a"b',
      'meta',
      '1',
      `"${'k'.repeat(255)}"`,
      'k'.repeat(256),
      'k'.repeat(LONG),
      '\u00ff',
    ),
  ],
  [
    'X-Correlation-Id',
    oneOf('', 'a b', 'a'.repeat(64), 'a'.repeat(65), 'a'.repeat(LONG), '\u00e9', 'a,b', '__proto__'),
  ],
  [
    'Content-Type',
    oneOf(
      '',
      'text/plain',
      'application/json; charset=utf-16',
      'application/json;charset="utf-8"',
      `application/json${' '.repeat(LONG)}x`,
      `application/json;${' '.repeat(7000)}charset=utf-8`,
      'multipart/form-data; boundary=a',
      'application/json, application/json',
    ),
  ],
  ['Content-Encoding', oneOf('gzip', 'identity', 'br', 'deflate, gzip', '', 'x'.repeat(9000))],
  ['Expect', oneOf('100-continue', 'nonsense', '', '200-ok')],
  ['Connection', oneOf('close', 'keep-alive', 'upgrade', 'Host', 'close, keep-alive', 'te')],
  ['Upgrade', oneOf('websocket', 'h2c', 'TLS/1.0', 'a'.repeat(9000))],
  ['HTTP2-Settings', oneOf('AAMAAABkAAQCAAAAAAIAAAAA')],
  ['Range', oneOf('bytes=0-0', 'bytes=-1', 'bytes=0-,0-,0-', `bytes=${'0-0,'.repeat(2000)}`)],
  ['If-None-Match', oneOf('*', '"a"', '"a",'.repeat(2000))],
  ['Cookie', longList('a=b; ')],
  ['X-Forwarded-For', longList('1.1.1.1')],
  ['Forwarded', oneOf('for="[::1]";host=evil.example', 'for=unknown', 'for="')],
  ['Accept-Encoding', oneOf('gzip;q=0', '*;q=0', 'identity', 'gzip,'.repeat(2000))],
  ['Traceparent', oneOf('00-0-0-00', 'x'.repeat(9000))],
  ['X-HTTP-Method-Override', oneOf(...METHODS)],
  [
    'X-Many',
    (random) =>
      fill(
        random.between(100, 15_000),
        random.pick(['A: b', 'a:', 'X-Y: z', 'Cookie: a=b', 'Accept: */*', 'Origin: null']),
        { head: 'a\r\n', between: '\r\n' },
      ),
  ],
  ['__proto__', oneOf('a')],
  ['constructor', oneOf('a')],
]

/** After these, or without a Host, there may be no answer that a client can wait for. */
const WITHOUT_ANSWER = /^(Connection|Upgrade|Expect|Host)/

/** A good request with one to four odd headers. */
export function drawHeaders(random: Random, context: DrawContext): Shot {
  const headers = Array.from({ length: random.between(1, 4) }, () => {
    const [name, draw] = random.pick(HEADERS)
    return `${name}: ${draw(random, context)}`
  })
  const job = `{"pool":"${POOL}","inputs":"${MARK}","parameters":{"max_new_tokens":3}}`
  const parts: RequestParts = random.chance(0.5)
    ? { method: 'POST', path: '/v1/jobs', headers, body: job }
    : { path: drawPath(random, context), headers }
  const expects = headers.some((line) => WITHOUT_ANSWER.test(line)) ? { expects: 'any' as const } : {}
  return { kind: 'http', conversations: [{ ...ask(context, parts), ...expects, leaveAfterMs: 3000 }] }
}

import fc from 'fast-check'
import { describe, expect } from 'vitest'
import { POOL } from '../support/lab.ts'
import { call } from './calls.ts'
import type { Answer, Call } from './calls.ts'
import { OPERATIONS, statusesOf } from './operations.ts'
import type { Operation } from './operations.ts'
import { test } from './stage.ts'

/** `PROPERTY_RUNS` scales it, `PROPERTY_SEED` repeats one. */
const RUNS = Number(process.env['PROPERTY_RUNS'] ?? 300)
const SEED = process.env['PROPERTY_SEED']

interface Shot extends Call {
  /** Its place among the operations. */
  readonly index: number
  readonly url: string
}

/** Text that HTTP can carry in a header. */
const headerText = fc.stringMatching(/^[\x21-\x7e\x80-\xff][\x20-\x7e\x80-\xff]{0,60}[\x21-\x7e]$/)
const oddText = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.constantFrom(
    '',
    '0',
    '__proto__',
    'constructor',
    '../..',
    '%00',
    '\u202e',
    'a'.repeat(300),
    '🦙',
    '-1',
    'meta',
  ),
)
const known = fc.constantFrom('known', 'gone', POOL, '0-1', '0-0', '9007199254740991-1', '5-5')
const odd = fc.oneof(
  fc.jsonValue(),
  fc.bigInt().map(String),
  fc.constantFrom<unknown>(1e308, -0, 2 ** 53, 1e-320, null, [], {}, JSON.parse('{"__proto__":{"x":1}}')),
)
const nested = fc
  .tuple(fc.integer({ min: 1, max: 200 }), fc.boolean())
  .map(([depth, array]) =>
    Array.from({ length: depth }).reduce<unknown>((inner) => (array ? [inner] : { value: inner }), 1),
  )
const parameters = fc.record(
  Object.fromEntries(
    [
      'max_new_tokens',
      'temperature',
      'top_k',
      'top_p',
      'seed',
      'stop',
      'grammar',
      'best_of',
      'details',
      'odd',
    ].map((name) => [name, fc.oneof(odd, fc.integer(), fc.double(), nested)]),
  ),
  { requiredKeys: [] },
)
const job = fc.record(
  {
    pool: fc.oneof({ weight: 5, arbitrary: fc.constant(POOL) }, oddText, odd),
    job_id: fc.oneof(known, oddText, odd),
    inputs: fc.oneof(oddText, fc.constant('x'), odd),
    messages: fc.oneof(odd, fc.array(fc.record({ role: oddText, content: oddText }), { maxLength: 3 })),
    parameters: fc.oneof(parameters, odd, nested),
    priority: fc.oneof(fc.constantFrom('interactive', 'batch'), odd),
    deadline_ms: fc.oneof(fc.integer(), fc.double(), odd),
    correlation_id: fc.oneof(oddText, odd),
    placement: odd,
    v: odd,
    ['__proto__x']: odd,
  },
  { requiredKeys: [] },
)
const bytes = fc.uint8Array({ maxLength: 60 }).map((array) => Buffer.from(array))
const json = (value: unknown) => JSON.stringify(value) ?? 'null'
const body = fc.oneof(
  { weight: 6, arbitrary: job.map(json) },
  { weight: 1, arbitrary: odd.map(json) },
  { weight: 1, arbitrary: fc.tuple(job.map(json), fc.nat(200)).map(([text, cut]) => text.slice(0, cut)) },
  { weight: 1, arbitrary: job.map((value) => json(value).replace('{', '{"__proto__":{"pool":"x"},')) },
  { weight: 1, arbitrary: fc.constantFrom('1e999', '[1e400]', '"\\ud800"', '{"inputs":"\\u0000"}', '', ' ') },
  { weight: 1, arbitrary: bytes },
)

function valueOf(name: string): fc.Arbitrary<string> {
  if (name === 'pool') return fc.oneof(fc.constant(POOL), oddText, known)
  return fc.oneof(known, oddText, fc.constant('known'))
}

/** A request to an operation: right, nearly right, or not at all. */
const shot: fc.Arbitrary<Shot> = fc
  .tuple(
    fc.nat(OPERATIONS.length - 1),
    fc.tuple(valueOf('id'), valueOf('pool'), valueOf('after')),
    fc.tuple(fc.boolean(), fc.boolean()),
    fc.oneof(
      { weight: 6, arbitrary: fc.constant('') },
      fc.constantFrom(
        'PUT',
        'PATCH',
        'TRACE',
        'OPTIONS',
        'HEAD',
        'POST',
        'DELETE',
        'PROPFIND',
        'QUERY',
        'M-SEARCH',
      ),
    ),
    fc.record(
      {
        'Last-Event-ID': fc.oneof(known, headerText),
        'X-Correlation-Id': fc.oneof(known, headerText),
        'Idempotency-Key': fc.oneof(known, headerText),
        'Content-Type': fc.oneof({ weight: 5, arbitrary: fc.constant('application/json') }, headerText),
        'Content-Encoding': fc.oneof(fc.constantFrom('gzip', 'identity', 'br'), headerText),
        Accept: headerText,
        Authorization: headerText,
        Origin: fc.oneof(fc.constantFrom('null', 'http://127.0.0.1'), headerText),
        Expect: fc.constantFrom('100-continue', 'nonsense'),
        'Accept-Encoding': headerText,
      },
      { requiredKeys: ['Content-Type'] },
    ),
    fc.option(body, { nil: undefined }),
  )
  .map(([index, [id, pool, after], [hasPool, hasAfter], method, headers, content]) => {
    const operation = operationOf(index)
    const query = new URLSearchParams({ ...(hasPool ? { pool } : {}), ...(hasAfter ? { after } : {}) })
    return {
      index,
      method: method === '' ? operation.method : method,
      url: `${operation.path.replace('{id}', encodeURIComponent(wellFormed(id)))}?${query.toString()}`,
      headers,
      body: operation.method === 'POST' ? content : undefined,
    }
  })

function wellFormed(text: string): string {
  return text.toWellFormed()
}

function operationOf(index: number): Operation {
  const operation = OPERATIONS[index]
  if (operation === undefined) throw new Error(`no operation ${index}`)
  return operation
}

function expectDocumented({ index, method }: Shot, answer: Answer): void {
  const operation = operationOf(index)
  if (method !== operation.method) return
  // A path may be none at all (404), or lead to another route (405).
  if (answer.status === 404 || answer.status === 405) return
  expect(statusesOf(operation)).toContain(String(answer.status))
}

describe('whatever is sent', () => {
  test(
    'is answered: by what the document says, in the envelope, never as a fault of ours',
    {
      timeout: 120_000,
    },
    async ({ lab, gateway }) => {
      const client = await lab.client({ max_queued: 100_000 })
      await client.enqueue({ inputs: 'x' }, { jobId: 'known' })
      await client.cancel('known')
      const { url, lines } = await gateway({ heartbeatMs: 50 })
      await fc.assert(
        fc.asyncProperty(shot, async (sent) => {
          const answer = await call(url + sent.url, sent)
          if (answer.status >= 500) {
            throw new Error(`${sent.method} ${sent.url} got ${answer.status} ${answer.text}`)
          }
          expectDocumented(sent, answer)
          if (answer.status >= 400 && sent.method !== 'HEAD' && answer.text !== '') {
            expect(answer.json).toMatchObject({ error: { code: expect.any(String) } })
          }
        }),
        {
          numRuns: RUNS,
          timeout: 60_000,
          ...(SEED === undefined ? {} : { seed: Number(SEED) }),
          endOnFailure: false,
        },
      )
      expect((await call(`${url}/readyz`)).status).toBe(200)
      expect(lines.filter((line) => line['level'] === 50)).toEqual([])
    },
  )
})

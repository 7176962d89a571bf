import { isDeepStrictEqual } from 'node:util'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { PoolError } from '../../src/contract/error.ts'
import { jobIdSchema } from '../../src/contract/ids.ts'
import { digestOf, parseJob } from '../../src/contract/job.ts'

const PROMPT = 'nobody else may read this'

/** The message of the refusal; throws when there is none. */
function refusalOf(body: unknown): string {
  try {
    parseJob(body)
  } catch (error) {
    if (error instanceof PoolError && error.kind === 'INVALID_PARAMS') return error.message
    throw error
  }
  throw new Error('the job was accepted')
}

describe('a job', () => {
  test('with nothing but a prompt has its defaults', () => {
    expect(parseJob({ inputs: 'x' })).toEqual({ v: 1, inputs: 'x', parameters: {}, priority: 'interactive' })
  })

  test.for<[name: string, body: unknown, message: RegExp]>([
    ['no prompt', {}, /inputs or messages.*neither/],
    ['two prompts', { inputs: 'x', messages: [{ role: 'user', content: 'x' }] }, /one of the two, got both/],
    ['an empty prompt', { inputs: '' }, /inputs: the prompt is empty/],
    ['an empty chat', { messages: [] }, /messages: expected an array of 1 to 10000, got one of 0/],
    ['another version', { v: 2, inputs: 'x' }, /version 2 is not known.*expected 1/],
    ['an unknown field', { inputs: 'x', colour: 'red' }, /unknown field "colour"/],
    ['an unknown parameter', { inputs: 'x', parameters: { top_q: 1 } }, /parameters: unknown field "top_q"/],
    [
      'a parameter of another type',
      { inputs: 'x', parameters: { top_k: '5' } },
      /top_k: expected number, got string/,
    ],
    ['max_new_tokens 0', { inputs: 'x', parameters: { max_new_tokens: 0 } }, /max_new_tokens: .*>=1, got 0/],
    ['a prompt that is no string', { inputs: 5 }, /inputs: expected string, got number/],
    ['a deadline of 0', { inputs: 'x', deadline_ms: 0 }, /deadline_ms: .*>0, got 0/],
    [
      'a deadline with a fraction',
      { inputs: 'x', deadline_ms: 1.5 },
      /deadline_ms: expected int, got number|deadline_ms: .*got 1.5/,
    ],
    [
      'another priority',
      { inputs: 'x', priority: 'urgent' },
      /priority: .*"interactive".*"batch".*got "urgent"/,
    ],
    ['strict', { inputs: 'x', determinism: 'strict' }, /determinism "strict" is not supported yet/],
    ['another wish for interruptions', { inputs: 'x', on_interrupt: 'again' }, /on_interrupt: .*got "again"/],
    ['a placement', { inputs: 'x', placement: { replica_id: 'r' } }, /placement is not supported yet/],
    ['a label with a space', { inputs: 'x', tenant: 'a b' }, /tenant: .*got "a b"/],
    ['several answers', { inputs: 'x', parameters: { best_of: 2 } }, /best_of: several answers.*got 2/],
    [
      'the prompt in the answer',
      { inputs: 'x', parameters: { return_full_text: true } },
      /return_full_text: .*got true/,
    ],
    ['a prompt to be cut', { inputs: 'x', parameters: { truncate: 5 } }, /truncate: .*got 5/],
    ['no details', { inputs: 'x', parameters: { details: false } }, /details are always on.*got false/],
    ['no object', 'x', /job: expected object, got string/],
  ])('with %s is refused by name', ([, body, message]) => {
    expect(refusalOf(body)).toMatch(message)
  })

  test.for<[name: string, body: Record<string, unknown>]>([
    ['the greedy profile', { do_sample: false, temperature: 0, top_p: 1, top_k: 0, typical_p: 1 }],
    [
      'nulls',
      { temperature: null, top_k: null, seed: null, max_new_tokens: null, best_of: null, truncate: null },
    ],
    ['a grammar', { grammar: { type: 'json', value: { properties: {} } } }],
  ])('with %s is accepted', ([, parameters]) => {
    expect(parseJob({ inputs: 'x', parameters }).parameters).toEqual(parameters)
  })

  test('refuses faults beside a prompt without repeating a word of it', () => {
    const bodies = [
      { inputs: [PROMPT] },
      { inputs: { text: PROMPT } },
      { messages: [{ role: 'user', content: { text: PROMPT } }] },
      { messages: [{ role: 'user', content: [{ type: 'image', text: PROMPT }] }] },
      { messages: [{ role: '', content: PROMPT }] },
      { messages: PROMPT },
      { messages: [PROMPT] },
      { inputs: 'x', parameters: { stop: PROMPT } },
      { inputs: 'x', parameters: { stop: [PROMPT, ''] } },
      { inputs: 'x', parameters: { grammar: PROMPT } },
      { inputs: 'x', parameters: { grammar: { type: 'regex', value: [PROMPT] } } },
      PROMPT,
      [PROMPT],
    ]
    for (const body of bodies) expect(refusalOf(body)).not.toContain(PROMPT)
  })
})

test.for<[name: string, body: unknown]>([
  ['a field that is not supported yet', { inputs: 'x', determinism: 'a'.repeat(100_000) }],
  ['a parameter that cannot work', { inputs: 'x', parameters: { truncate: 'a'.repeat(100_000) } }],
  ['a version', { inputs: 'x', v: 'a'.repeat(100_000) }],
  ['a name', { inputs: 'x', ['a'.repeat(100_000)]: 1 }],
])('a refusal stays short when %s is long', ([, body]) => {
  expect(refusalOf(body).length).toBeLessThan(1000)
})

describe('the digest of a body', () => {
  test('does not depend on the order of keys', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (body) => {
        expect(digestOf(reversed(body))).toBe(digestOf(body))
      }),
    )
  })

  test('tells two bodies apart', () => {
    fc.assert(
      fc.property(fc.jsonValue(), fc.jsonValue(), (left, right) => {
        fc.pre(!same(left, right))
        expect(digestOf(left)).not.toBe(digestOf(right))
      }),
    )
    expect(digestOf({ inputs: 'a' })).not.toBe(digestOf({ inputs: 'b' }))
    expect(digestOf({ a: [1, 2] })).not.toBe(digestOf({ a: [2, 1] }))
  })

  test('takes an absent field for one that is undefined', () => {
    expect(digestOf({ inputs: 'x', tenant: undefined })).toBe(digestOf({ inputs: 'x' }))
  })
})

describe('a job id', () => {
  test.for(['a', '0a', 'A.b_c-d', 'a'.repeat(128), 'waiting', 'Meta', '1-1'])('may be %s', (id) => {
    expect(jobIdSchema.safeParse(id).success).toBe(true)
  })

  test.for(['', '5', '123456', '.a', '-a', 'a:b', 'a b', 'ä', 'a'.repeat(129), 'a\n'])(
    'may not be %j',
    (id) => {
      expect(jobIdSchema.safeParse(id).success).toBe(false)
    },
  )

  test.for([
    'wait',
    'meta',
    'events',
    'id',
    'pc',
    'marker',
    'de',
    'stalled',
    'stalled-check',
    'prioritized',
    'limiter',
  ])('may not be %s, a key of the queue itself', (id) => {
    expect(jobIdSchema.safeParse(id).success).toBe(false)
  })
})

test('the digest of a body is what it was for bodies that are in a stream already', () => {
  expect(
    digestOf({ v: 1, messages: [{ role: 'user', content: 'x' }], 10: 1, 9: [null, { b: 1, a: 2 }] }),
  ).toBe('2515f435000bd89c5ce7b232bc5968386cbaf97dfecaf80cbef1101b768183cd')
  expect(digestOf(JSON.parse('{"__proto__":{"b":1,"a":2}}'))).toBe(
    '99da84ea3b300cbf24d25cd1eb2220874350865ba13660c050ef7841fc6ad620',
  )
})

/** The same value with every object's keys the other way round. */
function reversed(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(reversed)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .toReversed()
      .map(([key, inner]) => [key, reversed(inner)]),
  )
}

/** Whether two values are one as JSON, where -0 is 0. */
function same(left: unknown, right: unknown): boolean {
  return isDeepStrictEqual(asJson(left), asJson(right))
}

function asJson(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value))
}

test.for([
  { messages: [{ role: 'assistant', content: 'x', tool_calls: [] }] },
  { messages: [{ role: 'tool', content: 'x', tool_call_id: '0' }] },
  { messages: [{ role: 'user', content: 'x', name: 'n' }] },
  { messages: [{ role: 'user', content: 'x' }], tools: [] },
  { messages: [{ role: 'user', content: 'x' }], tool_choice: 'auto' },
])('%j is refused until the OpenAI-compatible routes are there, and the message says so', (body) => {
  expect(refusalOf(body)).toMatch(
    /(?:name|tool\w+) comes with the OpenAI-compatible routes and is not supported yet; leave it out/,
  )
})

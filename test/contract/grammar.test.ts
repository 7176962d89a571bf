import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { PoolError } from '../../src/contract/error.ts'
import { parseJob } from '../../src/contract/job.ts'
import { jsonGrammarFlaw } from '../../src/contract/json-grammar.ts'
import { schemaFlaw } from '../../src/contract/json-schema.ts'
import { regexFlaw } from '../../src/contract/regex.ts'

const submit = (grammar: unknown) => parseJob({ inputs: 'x', parameters: { grammar } })

function refusalOf(grammar: unknown): string {
  try {
    submit(grammar)
  } catch (error) {
    if (error instanceof PoolError && error.kind === 'INVALID_PARAMS') return error.message
    throw error
  }
  return 'accepted'
}

test.for([
  ['[', 'character 1: a character class is not closed'],
  ['ab[^', 'character 3: a character class is not closed'],
  ['[a-z', 'character 1: a character class'],
  ['[\\]', 'character 1: a character class'],
  ['(', 'character 1: a group is not closed'],
  ['a(b(c)', 'character 2: a group is not closed'],
  ['a)', 'character 2: a parenthesis closes nothing'],
  ['(?', 'character 1: a group is not closed'],
  ['(?)', 'character 1: a group is not closed'],
  ['(?P<n', 'character 1: the name of a group is not closed'],
  ['(?P<>a)', 'character 1: a group lacks its name'],
  ['(?#never', 'character 1: a comment is not closed'],
  ['*a', 'character 1: * repeats nothing'],
  ['a|+', 'character 3: + repeats nothing'],
  ['(?:*)', 'character 4: * repeats nothing'],
  ['(?a)|?', 'character 6: ? repeats nothing'],
  ['a\\', 'character 2: a backslash escapes nothing'],
  ['\\q', 'character 1: \\q is no escape'],
  ['[\\y]', 'character 2: \\y is no escape'],
  ['\\x4', 'character 1: \\x lacks its hexadecimal digits'],
  ['\\u12', 'character 1: \\u lacks its hexadecimal digits'],
  ['\\p', 'character 1: \\p lacks the name of its property'],
  ['\\p{L', 'character 1: \\p lacks the name of its property'],
  ['a{3,1}', 'character 2: the repetition {3,1} runs backwards'],
  ['[z-a]', 'character 2: the range z-a runs backwards'],
] as const)('the regex %s is broken everywhere and refused with its place', ([pattern, message]) => {
  expect(refusalOf({ type: 'regex', value: pattern })).toContain(`the regex is broken at ${message}`)
})

test.for([
  '',
  'a',
  '((25[0-5]|2[0-4]\\d|[01]?\\d\\d?)\\.){3}(25[0-5]|2[0-4]\\d|[01]?\\d\\d?)',
  '(?P<year>\\d{4})-(?P<month>\\d\\d)',
  '(?<year>\\d{4})(?P=year)',
  '(?<=a)b(?<!c)(?=d)(?!e)(?>f)',
  'a++b*+c?+d{1,2}+e*?',
  'a**',
  '\\p{L}+\\pN\\P{Lu}\\p{^Greek}',
  '[[:alpha:]]+[a[bc]d][a&&[^(]]',
  '[]a]',
  '[]',
  '[^]]',
  '[](]',
  '[a(]',
  '[[()]]',
  '[a\\]b]',
  ']',
  '}{',
  'a{',
  'a{,3}',
  'a{2,}',
  '{2}',
  '(?i)abc(?-i:d)(?a)',
  '(?x) a # (a comment',
  '(?#a comment (with a bracket)b',
  '^a$',
  '^*',
  '()',
  '(|a)',
  '\\x41\\x{41}\\u0041\\u{41}\\U00000041',
  '\\A\\Z\\z\\b\\B\\d\\D\\s\\S\\w\\W\\n\\r\\t\\f\\v\\a\\0\\1',
  '\\<\\>\\-\\/\\é',
  '[\\w.-]+@[\\w-]+\\.[a-z]{2,}',
  '[a-]|[-a]|[+--]|[!-~]',
  '🙂{2}[🙂-🙏]',
])('the regex %s, which some engine takes, is accepted', (value) => {
  expect(refusalOf({ type: 'regex', value })).toBe('accepted')
})

test('a regex is read in a time that grows with its length', () => {
  for (const piece of ['(', '[', '(?P<a', '(?#', 'a|', '[a]', '\\p{', '(?', '(?a', 'a{1,', '[[', '[^]']) {
    const startedAt = performance.now()
    regexFlaw(piece.repeat(200_000))
    // Usually below 100 ms; a reading that is quadratic takes minutes.
    expect(performance.now() - startedAt).toBeLessThan(10_000)
  }
})

const object = (properties: unknown, more = {}) => ({ type: 'json', value: { properties, ...more } })
const chain = Object.fromEntries(
  Array.from({ length: 40 }, (_, index) => [
    `d${index}`,
    { anyOf: [{ $ref: `#/$defs/d${index + 1}` }, { $ref: `#/$defs/d${index + 1}` }] },
  ]),
)

const line = Object.fromEntries(
  Array.from({ length: 5000 }, (_, index) => [`l${index}`, { $ref: `#/$defs/l${index + 1}` }]),
)

test.for([
  [{ type: 'json', value: 'no JSON' }, 'grammar is not valid: expected an object'],
  [{ type: 'json', value: '5' }, 'grammar is not valid: is not of types "boolean", "object"'],
  [{ type: 'json', value: {} }, "grammar is not valid: Grammar must have a 'properties' field"],
  [{ type: 'json_schema', value: { schema: {} } }, "Grammar must have a 'properties' field"],
  [object(5), 'grammar is not valid: properties is not of type "object"'],
  [object({ a: { type: 'nosuch' } }), 'grammar is not valid: properties.a.type is not valid under any'],
  [object({ a: 5 }), 'grammar is not valid: properties.a is not of types "boolean", "object"'],
  [object({}, { required: 'a' }), 'required is not of type "array"'],
  [object({}, { required: ['a', 'a'] }), 'required has non-unique elements'],
  [object({ a: { minLength: -1 } }), 'properties.a.minLength is less than the minimum of 0'],
  [object({ a: { anyOf: [] } }), 'properties.a.anyOf has less than 1 item'],
  [object({ a: { type: 'string', format: 'nosuch' } }), 'Format nosuch is not supported by Outlines'],
  [
    object({ a: { $ref: '#/$defs/none' } }),
    'cannot compile regex from schema: Invalid reference path: $defs',
  ],
  [object({ a: { $ref: 'https://x/y#/z' } }), 'External references are not supported'],
  [object({ a: { $ref: '#' } }), 'grammar is not valid: $ref "#" leads back to itself'],
  [
    object({ a: { $ref: '#/$defs/n' } }, { $defs: { n: { properties: { n: { $ref: '#/$defs/n' } } } } }),
    '$ref "#/$defs/n" leads back to itself',
  ],
  [
    object({ a: { $ref: '#/$defs/d0' } }, { $defs: { ...chain, d40: { type: 'null' } } }),
    'its references unfold to more than 20000 schemas',
  ],
  [
    object({ a: { $ref: '#/$defs/l0' } }, { $defs: { ...line, l5000: { type: 'null' } } }),
    'more than 200 references lead to one another',
  ],
  [object({ a: { type: 'string', pattern: '[' } }), 'pattern: a character class is not closed'],
  [{ type: 'json', value: `${'{"properties":'.repeat(99)}5${'}'.repeat(99)}` }, 'at most 64 deep'],
] as const)(
  'grammar %# is refused as the router would, or because it would not survive it',
  ([grammar, message]) => {
    expect(refusalOf(grammar)).toContain(message)
  },
)

const person = {
  type: 'object',
  properties: {
    name: { type: 'string', minLength: 1, maxLength: 40 },
    age: { type: 'integer', minimum: 0 },
    tags: { type: 'array', items: { $ref: '#/$defs/tag' }, maxItems: 3 },
    other: { $ref: '#/$defs/tag' },
    kind: { enum: ['a', 1, null] },
    id: { type: 'string', format: 'uuid' },
    code: { type: 'string', pattern: '^[A-Z]{2}$' },
    anything: {},
    free: { type: 'object' },
  },
  required: ['name'],
  $defs: { tag: { type: 'string' } },
  'x-made-up': 5,
}

test.for([
  { type: 'json', value: person },
  { type: 'json_object', value: person },
  { type: 'json', value: JSON.stringify(person) },
  { type: 'json_schema', value: { name: 'person', schema: person } },
])('a grammar that TGI takes is accepted: %#', (grammar) => {
  expect(refusalOf(grammar)).toBe('accepted')
})

test('a refusal is a short line, whatever a schema refers to', () => {
  for (const schema of [
    { $ref: `https://x/#/${'y'.repeat(200_000)}` },
    { $ref: '#/\u001B[31m\nforged\u2028line' },
    { type: 'string', format: 'f'.repeat(200_000) },
  ]) {
    const message = refusalOf(object({ a: schema }))
    expect(message).toContain('cannot compile regex from schema')
    expect(message).not.toMatch(/[\p{Cc}\p{Zl}]/u)
    expect(message.length).toBeLessThan(400)
  }
})

const refs = (count: number) =>
  Object.fromEntries(Array.from({ length: count }, (_, index) => [`p${index}`, { $ref: '#/$defs/s' }]))

test('a schema that many references lead to is looked at once', () => {
  let looks = 0
  const shared = new Proxy<Record<string, unknown>>(
    { type: 'string', pattern: 'a'.repeat(1000) },
    {
      get(target, key) {
        if (key === 'pattern') looks += 1
        return target[String(key)]
      },
    },
  )
  const looksAt = (count: number) => {
    looks = 0
    expect(jsonGrammarFlaw({ properties: refs(count), $defs: { s: shared } })).toBeUndefined()
    return looks
  }
  expect(looksAt(5000)).toBe(looksAt(1))
})

test('a refusal repeats no value of a grammar', () => {
  const secret = 'purple walrus'
  for (const grammar of [
    object({ a: { type: secret } }),
    object(secret),
    { type: 'json', value: secret },
    { type: 'regex', value: `${secret}(` },
    object({ a: { type: 'string', pattern: `${secret}[` } }),
  ]) {
    expect(refusalOf(grammar)).not.toContain(secret)
    expect(refusalOf(grammar)).not.toBe('accepted')
  }
})

test('the meta-schema of draft 2020-12 is the one that the router holds schemas against', async () => {
  // What jsonschema 0.28.3 says, which is in TGI 3.3.7's lock file.
  const file = new URL('recorded-schemas.json', import.meta.url)
  const recorded: [schema: string, answer: string][] = JSON.parse(await readFile(file, 'utf8'))
  const answers = recorded.map(([text]) => {
    const flaw = schemaFlaw(JSON.parse(text))
    return [text, flaw === undefined ? 'ok' : `${JSON.stringify(flaw.value)} ${flaw.rule}`]
  })
  expect(answers).toEqual(recorded)
})

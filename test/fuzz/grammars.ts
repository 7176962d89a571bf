import type { Random } from '../chaos/random.ts'
import { MARK } from './shot.ts'
import { fill, fillWith } from './text.ts'

type DrawText = (random: Random, bytes: number) => string

const LEAVES = [
  '{"type":"string"}',
  '{}',
  'true',
  '{"type":"integer"}',
  '{"const":0}',
  '{"enum":[0]}',
  '0',
] as const

function definition(n: number): string {
  return `"d${n}":{"type":"array","prefixItems":[{"$ref":"#/$defs/d${n + 1}"},{"$ref":"#/$defs/d${n + 1}"}]}`
}

/** JSON Schemas, as JSON. */
const SCHEMAS: readonly DrawText[] = [
  (random, bytes) => {
    const leaf = random.pick(LEAVES)
    const head = '{"type":"object","properties":{'
    return fillWith(bytes, (n) => `"${n.toString(36)}":${leaf}`, { head, tail: '}}' })
  },
  (_random, bytes) =>
    fillWith(bytes, (n) => `"${n.toString(36)}"`, { head: '{"type":"object","required":[', tail: ']}' }),
  (random, bytes) => {
    const unit = random.pick([`"${MARK}"`, '0', 'null', '{}', '[]', '"\\ud800"'])
    return fill(bytes, unit, { head: '{"enum":[', tail: ']}', between: ',' })
  },
  (random, bytes) => {
    const word = random.pick(['anyOf', 'allOf', 'oneOf', 'prefixItems', 'type', 'items'])
    return fill(bytes, random.pick(LEAVES), { head: `{"${word}":[`, tail: ']}', between: ',' })
  },
  (random, bytes) => {
    const [left, right] = random.pick([
      ['{"type":"array","items":', '}'],
      ['{"type":"object","properties":{"a":', '}}'],
      ['{"anyOf":[', ']}'],
      ['{"not":', '}'],
    ] as const)
    const most = Math.floor((bytes - 2) / (left.length + right.length))
    const depth = Math.max(1, Math.min(most, random.pick([5, 10, 20, 30, 60, 1000])))
    return `${left.repeat(depth)}{}${right.repeat(depth)}`
  },
  // Every definition names the one before it twice: a resolver that expands them needs 2^n steps.
  (random, bytes) => {
    const count = random.pick([10, 30, 1000])
    const head = '{"$ref":"#/$defs/d0","$defs":{'
    const size = Math.min(bytes, head.length + definition(1000).length * count)
    return fillWith(size, definition, { head, tail: `,"d${count}":{}}}` })
  },
  () => '{"$ref":"#"}',
  () => '{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}},"$ref":"#/$defs/a"}',
  (random, bytes) =>
    fill(bytes, random.pick(['a', '(a|', '[a-z]', 'a{9}', '\\\\d']), {
      head: '{"type":"string","pattern":"',
      tail: '"}',
    }),
  (_random, bytes) =>
    fillWith(bytes, (n) => `"${n}a*":{"type":"string"}`, { head: '{"patternProperties":{', tail: '}}' }),
  (random) =>
    `{"type":"string","minLength":${random.pick([0, 1e6, 1e15])},"maxLength":${random.pick([1, 1e9, 1e300])}}`,
  (random) =>
    `{"type":"array","items":{},"minItems":${random.pick([0, 1e6, 1e15])},"maxItems":${random.pick([1, 1e9])}}`,
]

/** Regexes, as JSON strings without their quotes. */
const REGEXES: readonly DrawText[] = [
  (random, bytes) =>
    fill(
      bytes,
      random.pick(['a', '.', '\\\\d', '[a-z]', 'a?', 'a*', 'a{1,9}', '(a)', 'a|', '^', '$', '\\\\p{L}']),
    ),
  (random, bytes) => {
    const [left, right] = random.pick([
      ['(', ')'],
      ['(?:', ')*'],
      ['(', '){1,9}'],
      ['(a|', ')+'],
      ['[', ']'],
      ['(?=', ')'],
    ] as const)
    const most = Math.floor(bytes / (left.length + right.length))
    const depth = Math.max(1, Math.min(most, random.pick([3, 8, 20, 100, 1000, 1e6])))
    return `${left.repeat(depth)}a${right.repeat(depth)}`
  },
  (random, bytes) => fill(bytes, random.pick(['(', '[', '(?<a', '\\\\', '*', '{', ')', '(?'])),
  (random, bytes) => fill(bytes, random.pick(['ab', 'a-z', '\\\\w', '^', '[']), { head: '[', tail: ']' }),
  (random) => `(a{${random.pick([1, 1000, 99_999])},${random.pick([1000, 999_999, 99_999_999])}}){99,}`,
  (_random, bytes) => fillWith(bytes, (n) => `(?<n${n}>a)`, { between: '' }),
  (_random, bytes) => fillWith(bytes, (n) => `w${n.toString(36)}`, { between: '|' }),
  (random, bytes) => fill(bytes, '(a*)*', { tail: random.pick(['b', '\\\\1', '$']) }),
]

/** A value of `parameters.grammar`, as JSON. */
export function drawGrammar(random: Random, bytes: number): string {
  const kind = random.weighted({ json: 5, text: 1, regex: 5, odd: 1 })
  // Half of them are of a size that a person might write.
  const room = Math.max(100, random.chance(0.5) ? Math.min(bytes, random.between(100, 40_000)) : bytes) - 40
  switch (kind) {
    case 'json':
      return `{"type":"json","value":${random.pick(SCHEMAS)(random, room)}}`
    case 'text':
      return `{"type":"json","value":${JSON.stringify(random.pick(SCHEMAS)(random, room / 2))}}`
    case 'regex':
      return `{"type":"regex","value":"${random.pick(REGEXES)(random, room)}"}`
    case 'odd':
      return random.pick([
        '[]',
        '0',
        '{}',
        '{"type":"regex","value":[]}',
        '{"type":"json_schema","value":{"schema":{}}}',
      ])
  }
}

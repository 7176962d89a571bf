import type { Random } from '../chaos/random.ts'
import { MARK } from './shot.ts'

/** Bodies as people send them. */
const GOOD: readonly object[] = [
  { inputs: `Why is the sky ${MARK}?`, parameters: { max_new_tokens: 5, seed: 7, stop: ['\n', '.'] } },
  {
    messages: [
      { role: 'system', content: 'Be brief.' },
      { role: 'user', content: MARK },
    ],
    priority: 'batch',
  },
  {
    messages: [{ role: 'user', content: [{ type: 'text', text: MARK }] }],
    parameters: { do_sample: true, temperature: 0.7, top_p: 0.9, top_k: 20, max_new_tokens: 8 },
    deadline_ms: 4000,
    session_id: 's-1',
    correlation_id: 'c.1',
  },
  {
    inputs: 'A date:',
    parameters: {
      grammar: {
        type: 'json',
        value: { type: 'object', properties: { day: { type: 'integer' } }, required: ['day'] },
      },
      max_new_tokens: 9,
    },
    on_interrupt: 'replay',
    tenant: 't',
    v: 1,
  },
]

const ODD: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  0.5,
  1e308,
  2 ** 53,
  '',
  'a',
  '\u0000',
  '\ud800',
  '🦙',
  '\u202e',
  '9007199254740993',
  [],
  {},
  [[]],
  [null],
  { toString: 1 },
  { constructor: { prototype: 0 } },
  'a'.repeat(300),
]

/** Copies of one value in an array at most. */
const MOST_COPIES = 20_000

/** A good body with one to six changes, as JSON of at most so many bytes. */
export function mutate(random: Random, bytes: number, address: string): string {
  let body: unknown = random.pick(GOOD)
  for (let count = random.between(1, 6); count > 0; count -= 1)
    body = change(random, body, random.between(0, 4), bytes)
  const text = JSON.stringify(body)
  if (text.startsWith('{"')) return `{${address}${text.slice(1)}`
  return text === '{}' ? `{${address.replace(/,$/, '')}}` : text
}

/** Changes something at a depth, or above it where the value is not so deep. */
function change(random: Random, value: unknown, depth: number, bytes: number): unknown {
  if (depth === 0 || typeof value !== 'object' || value === null) return replace(random, value, bytes)
  if (Array.isArray(value)) {
    const items: readonly unknown[] = value
    if (items.length === 0) return replace(random, value, bytes)
    const at = random.between(0, items.length - 1)
    return items.map((item, index) => (index === at ? change(random, item, depth - 1, bytes) : item))
  }
  const entries = Object.entries(value)
  if (entries.length === 0) return replace(random, value, bytes)
  const at = random.between(0, entries.length - 1)
  const kind = random.weighted({ deeper: 8, drop: 1, rename: 1 })
  if (kind === 'drop') return Object.fromEntries(entries.filter((_entry, index) => index !== at))
  return Object.fromEntries(
    entries.map(([key, inner], index): [string, unknown] => {
      if (index !== at) return [key, inner]
      return kind === 'rename' ? [`${key}_`, inner] : [key, change(random, inner, depth - 1, bytes)]
    }),
  )
}

function replace(random: Random, value: unknown, bytes: number): unknown {
  const kind = random.weighted({ odd: 5, copies: 3, wrap: 2, text: 1, number: 1 })
  switch (kind) {
    case 'odd':
      return random.pick(ODD)
    case 'copies': {
      const size = JSON.stringify(value).length + 1
      const count = Math.min(random.between(2, MOST_COPIES), Math.floor(bytes / size / 4))
      return Array.from({ length: Math.max(2, count) }, () => value)
    }
    case 'wrap':
      return random.chance(0.5) ? [value] : { value }
    case 'text':
      return typeof value === 'string'
        ? value.repeat(random.between(2, 100)).slice(0, bytes / 8)
        : JSON.stringify(value)
    case 'number':
      return random.between(-(2 ** 31), 2 ** 31) / random.pick([1, 3, 1e6])
  }
}

import type { Random } from '../chaos/random.ts'
import { drawGrammar } from './grammars.ts'
import { mutate } from './mutate.ts'
import { MARK } from './shot.ts'
import { fill, fillWith } from './text.ts'

/** What a body is drawn with. */
interface BodyRoom {
  /** Its size at most; the limit, or less. */
  readonly bytes: number
  /** Fields that it must begin with, e.g. `"pool":"fuzz",`; may be empty. */
  readonly address: string
}

/** Draws the JSON text of a body, or text that nearly is JSON. */
export type DrawBody = (random: Random, room: BodyRoom) => string | Buffer

const PROMPT = `"inputs":"${MARK}"`

/** Values that are many where one or a few are expected. */
const UNITS = [
  '{}',
  '[]',
  '0',
  '""',
  'null',
  'true',
  '1.5',
  '"a"',
  '[[]]',
  '{"a":0}',
  '[{}]',
  '"\\ud800"',
  '-0',
  '1e9',
  '{"":[]}',
] as const

const MESSAGES = [
  ...UNITS,
  '{"role":"user"}',
  '{"role":"user","content":"a"}',
  '{"role":"user","content":0}',
  '{"role":"","content":""}',
  '{"role":"user","content":[]}',
  '{"role":"user","content":[{}]}',
  '{"role":"user","content":[0,0]}',
  `{"role":"user","content":[{"type":"text","text":"${MARK}"}]}`,
  '{"role":"user","content":"\\ud800"}',
  '{"role":"user","content":"a","name":0,"tool_calls":[],"tool_call_id":1}',
  '{"role":"assistant","content":"a","x":0}',
  '{"a":0,"b":0,"c":0,"d":0,"e":0,"f":0}',
] as const

const CONTENTS = [
  ...UNITS,
  '{"type":"text","text":"a"}',
  '{"type":"text"}',
  '{"type":"image_url"}',
  '{"type":"text","text":"\\ud800"}',
  '{"type":"text","text":"a","x":0}',
  '{"type":"text","text":[]}',
] as const

/** Fields that hold one value; here they hold many. */
const SINGLE = [
  'v',
  'inputs',
  'tools',
  'tool_choice',
  'priority',
  'deadline_ms',
  'determinism',
  'on_interrupt',
  'placement',
  'session_id',
  'correlation_id',
  'tenant',
  'parameters',
  'x',
] as const

const PARAMETERS = [
  'best_of',
  'temperature',
  'repetition_penalty',
  'frequency_penalty',
  'top_k',
  'top_p',
  'typical_p',
  'do_sample',
  'max_new_tokens',
  'return_full_text',
  'stop',
  'truncate',
  'watermark',
  'details',
  'decoder_input_details',
  'seed',
  'top_n_tokens',
  'grammar',
  'adapter_id',
  'x',
] as const

/** What stands around many keys. */
const KEY_PLACES = [
  ['', ''],
  ['"parameters":{', '}'],
  ['"placement":{', '}'],
  ['"messages":[{', '}]'],
  ['"messages":[{"role":"user","content":[{', '}]}]'],
  ['"parameters":{"grammar":{', '}}'],
  ['"parameters":{"grammar":{"type":"json","value":{', '}}}'],
  ['"parameters":{"grammar":{"type":"json","value":{"type":"object","properties":{', '}}}}'],
  ['"parameters":{"stop":[{', '}]}'],
  ['"tools":[{', '}]'],
  ['"x":{', '}'],
] as const

const KEYS: readonly ((n: number) => string)[] = [
  (n) => `"${n.toString(36)}":0`,
  (n) => `"${n}":0`,
  (n) => `"${4_294_967_000 - n * 7919}":null`,
  (n) => `"k${n}":{}`,
  (n) => `"__proto__${n}":[]`,
  (n) => `"\\u00${(16 + (n % 200)).toString(16).padStart(2, '0')}${n}":"a"`,
]

const CHARACTERS = [
  'a',
  'é',
  '漢',
  '🦙',
  '\\u0000',
  '\\ud800',
  '\\ud83d\\ude00',
  '\\n',
  ' ',
  '\\u2028',
  '\\"',
  '\u202e',
  '\u001b[31m'.replace('\u001b', '\\u001b'),
  '\\u0085',
  'e\u0301',
] as const

/** What stands around a long string. */
const STRING_PLACES = [
  ['"inputs":"', '"'],
  ['"messages":[{"role":"user","content":"', '"}]'],
  ['"messages":[{"role":"', '","content":"a"}]'],
  ['"messages":[{"role":"user","content":[{"type":"text","text":"', '"}]}]'],
  [`${PROMPT},"parameters":{"stop":["`, '"]}'],
  [`${PROMPT},"parameters":{"adapter_id":"`, '"}'],
  [`${PROMPT},"parameters":{"seed":"`, '"}'],
  [`${PROMPT},"priority":"`, '"'],
  [`${PROMPT},"correlation_id":"`, '"'],
  [`${PROMPT},"tenant":"`, '"'],
  [`${PROMPT},"on_interrupt":"`, '"'],
  [`${PROMPT},"determinism":"`, '"'],
  [`${PROMPT},"v":"`, '"'],
  [`${PROMPT},"x":"`, '"'],
  [`${PROMPT},"`, '":0'],
  [`${PROMPT},"parameters":{"`, '":0}'],
  [`${PROMPT},"parameters":{"grammar":{"type":"`, '","value":"a"}}'],
  [`${PROMPT},"parameters":{"grammar":{"type":"regex","value":"`, '"}}'],
  [`${PROMPT},"parameters":{"grammar":{"type":"json","value":"`, '"}}'],
  [`${PROMPT},"job_id":"`, '"'],
  [`${PROMPT},"pool":"`, '"'],
] as const

const NUMBER_PLACES = [
  [`${PROMPT},"deadline_ms":`, ''],
  [`${PROMPT},"v":`, ''],
  [`${PROMPT},"parameters":{"seed":`, '}'],
  [`${PROMPT},"parameters":{"temperature":`, '}'],
  [`${PROMPT},"parameters":{"max_new_tokens":`, '}'],
  [`${PROMPT},"parameters":{"stop":[`, ']}'],
  ['"inputs":', ''],
] as const

const NUMBERS = [
  { head: '', unit: '1', tail: '' },
  { head: '-', unit: '9', tail: 'e-1' },
  { head: '0.', unit: '0', tail: '1' },
  { head: '1e', unit: '1', tail: '' },
  { head: '1e-', unit: '1', tail: '' },
  { head: '1.', unit: '37', tail: '' },
] as const

/** Depths around the bound of a body, above it, and above any stack. */
const DEPTHS = [62, 63, 64, 65, 66, 500, 5000, 50_000] as const

const DEEP_PLACES = [
  ['', ''],
  ['"messages":', ''],
  ['"messages":[{"role":"user","content":', '}]'],
  [`${PROMPT},"parameters":`, ''],
  [`${PROMPT},"parameters":{"stop":`, '}'],
  [`${PROMPT},"parameters":{"grammar":{"type":"json","value":`, '}}'],
  [`${PROMPT},"x":`, ''],
  [`${PROMPT},"placement":`, ''],
] as const

/** All bodies by name, with one line of help. */
export const BODIES: Readonly<Record<string, { readonly what: string; readonly draw: DrawBody }>> = {
  'many-messages': {
    what: 'messages with as many elements as fit',
    draw: (random, room) => array(room, '"messages":[', random.pick(MESSAGES), ']'),
  },
  'many-contents': {
    what: 'a message whose content has as many parts as fit',
    draw: (random, room) =>
      array(room, '"messages":[{"role":"user","content":[', random.pick(CONTENTS), ']}]'),
  },
  'many-stops': {
    what: 'stop with as many elements as fit',
    draw: (random, room) => array(room, `${PROMPT},"parameters":{"stop":[`, random.pick(UNITS), ']}'),
  },
  'many-values': {
    what: 'arrays where one value is expected',
    draw: (random, room) => {
      const isParameter = random.chance(0.6)
      const field = isParameter ? random.pick(PARAMETERS) : random.pick(SINGLE)
      const [head, tail] = isParameter ? [`"parameters":{"${field}":[`, ']}'] : [`"${field}":[`, ']']
      const prompt = field === 'inputs' ? '' : `${PROMPT},`
      return array(room, prompt + head, random.pick(UNITS), tail)
    },
  },
  'many-keys': {
    what: 'objects with as many keys as fit, in each place',
    draw: (random, { bytes, address }) => {
      const [open, close] = random.pick(KEY_PLACES)
      const prompt = open.startsWith('"messages"') ? '' : `${PROMPT},`
      return fillWith(bytes, random.pick(KEYS), { head: `{${address}${prompt}${open}`, tail: `${close}}` })
    },
  },
  grammars: {
    what: 'large, deep and costly JSON Schemas and regexes',
    draw: (random, { bytes, address }) => {
      const head = `{${address}${PROMPT},"parameters":{"grammar":`
      return `${head}${drawGrammar(random, bytes - head.length - 2)}}}`
    },
  },
  deep: {
    what: 'nested arrays and objects around and far above the bound on depth',
    draw: (random, { bytes, address }) => {
      const [open, close] = random.pick(DEEP_PLACES)
      const isArray = random.chance(0.5)
      const [left, right] = isArray ? ['[', ']'] : ['{"a":', '}']
      const room = bytes - address.length - open.length - close.length - 4
      const most = Math.floor(room / (left.length + right.length))
      const depth = Math.max(1, Math.min(most, random.chance(0.3) ? most : random.pick(DEPTHS)))
      // The rest of the room is many values at the bottom.
      const bottom = Math.max(1, room - depth * (left.length + right.length))
      const inner = random.chance(0.5) ? fill(bottom, '[]', { head: '[', tail: ']', between: ',' }) : '0'
      const value = left.repeat(depth) + inner + right.repeat(depth)
      return open === '' ? value : `{${address}${open}${value}${close}}`
    },
  },
  strings: {
    what: 'one long string, in each place, of characters of each kind',
    draw: (random, { bytes, address }) => {
      const [open, close] = random.pick(STRING_PLACES)
      return fill(bytes, random.pick(CHARACTERS), { head: `{${address}${open}`, tail: `${close}}` })
    },
  },
  numbers: {
    what: 'one number of as many digits as fit',
    draw: (random, { bytes, address }) => {
      const [open, close] = random.pick(NUMBER_PLACES)
      const { head, unit, tail } = random.pick(NUMBERS)
      return fill(bytes, unit, { head: `{${address}${open}${head}`, tail: `${tail}${close}}` })
    },
  },
  'not-json': {
    what: 'text that is JSON up to its end, and text that is none',
    draw: drawNotJson,
  },
  duplicates: {
    what: 'one key again and again',
    draw: (random, { bytes, address }) => {
      const field = random.pick([
        PROMPT,
        '"inputs":"a"',
        '"parameters":{}',
        '"messages":[{}]',
        '"__proto__":{}',
        '"x":0',
        '"pool":"fuzz"',
      ])
      return fill(bytes, field, { head: `{${address}`, tail: '}', between: ',' })
    },
  },
  mutants: {
    what: 'good bodies with values replaced, repeated, dropped and moved',
    draw: (random, { bytes, address }) => mutate(random, bytes, address),
  },
  valid: {
    what: 'good bodies up to the largest that a pool takes',
    draw: drawValid,
  },
}

function array({ bytes, address }: BodyRoom, open: string, unit: string, close: string): string {
  return fill(bytes, unit, { head: `{${address}${open}`, tail: `${close}}`, between: ',' })
}

function drawNotJson(random: Random, { bytes, address }: BodyRoom): string | Buffer {
  const head = `{${address}"messages":[`
  const open = fill(bytes - 20, random.pick(MESSAGES), { head, between: ',' })
  const kind = random.pick([
    'cut',
    'trailing comma',
    'trailing text',
    'two values',
    'utf-8',
    'bom',
    'control character',
    'unterminated',
    'open brackets',
    'white space',
    'literal',
    'escape',
    'zeros',
    'empty',
  ] as const)
  switch (kind) {
    case 'cut':
      return open
    case 'trailing comma':
      return `${open},]}`
    case 'trailing text':
      return `${open}]} x`
    case 'two values':
      return `${open}]}{}`
    case 'utf-8':
      return Buffer.concat([
        Buffer.from(fill(bytes - 8, 'é', { head: '{"inputs":"' })),
        Buffer.from([0xc3, 0x28]),
      ])
    case 'bom':
      return `\ufeff${open}]}`
    case 'control character':
      return fill(bytes, 'a', { head: `{${address}"inputs":"`, tail: '\u0001"}' })
    case 'unterminated':
      return fill(bytes, '\\\\', { head: `{${address}"inputs":"` })
    case 'open brackets':
      return fill(bytes, random.pick(['[', '{"a":', '[{"a":']))
    case 'white space':
      return fill(bytes, random.pick([' ', '\n', '\t']), { head: `{${address}`, tail: 'x' })
    case 'literal':
      return `${open},nul]}`
    case 'escape':
      return fill(bytes, '\\u00e9', { head: `{${address}"inputs":"`, tail: '\\u00g0"}' })
    case 'zeros':
      return Buffer.alloc(bytes)
    case 'empty':
      return ''
  }
}

/** A little below the default `max_input_bytes`. */
const LARGEST_PROMPT = 1_499_000

function drawValid(random: Random, { bytes, address }: BodyRoom): string {
  const room = Math.min(bytes, LARGEST_PROMPT)
  const close = `,"parameters":{"max_new_tokens":${random.between(1, 40)},"top_n_tokens":${random.between(0, 5)}}}`
  const kind = random.pick(['inputs', 'message', 'messages', 'parts'] as const)
  const word = random.pick(['word ', 'a', 'é', '漢', '\\n', '<s>', '\\u0001'])
  switch (kind) {
    case 'inputs':
      return fill(room, word, { head: `{${address}"inputs":"${MARK} `, tail: `"${close}` })
    case 'message':
      return fill(room, word, {
        head: `{${address}"messages":[{"role":"user","content":"`,
        tail: `"}]${close}`,
      })
    case 'messages': {
      const unit = `{"role":"user","content":"${word}"},{"role":"assistant","content":"${MARK}"}`
      return fill(room, unit, { head: `{${address}"messages":[`, tail: `]${close}`, between: ',' })
    }
    case 'parts': {
      const head = `{${address}"messages":[{"role":"user","content":[`
      return fill(room, `{"type":"text","text":"${word}"}`, { head, tail: `]}]${close}`, between: ',' })
    }
  }
}

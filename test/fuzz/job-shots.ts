import { QUEUE_NAMES, poolKeys } from '../../src/contract/keys.ts'
import type { Random } from '../chaos/random.ts'
import { BODIES } from './bodies.ts'
import type { DrawBody } from './bodies.ts'
import { MARK, POOL } from './shot.ts'
import type { DrawContext, Shot } from './shot.ts'
import { fill, fillWith } from './text.ts'

type Command = readonly [command: string, ...args: (string | Buffer)[]]

/** A job as BullMQ 6 keeps it (commands/includes/storeJob.lua); whoever reaches Redis may write it otherwise. */
interface RawJob {
  readonly id: string
  readonly queue?: string
  readonly data?: string | Buffer | undefined
  /** Further fields of the hash, or others in place of the usual ones. */
  readonly fields?: Readonly<Record<string, string | undefined>>
  /** Where its id stands. @defaultValue `wait` */
  readonly places?: readonly Place[]
}

type Place = 'wait' | 'paused' | 'prioritized' | 'delayed' | 'active'

const GOOD_DATA = `{"inputs":"${MARK}","parameters":{"max_new_tokens":3}}`

function keyOf(queue: string, type: string): string {
  return `${poolKeys(POOL).queuePrefix}:${queue}:${type}`
}

/** The commands that put a job in a queue. */
function put({
  id,
  queue = QUEUE_NAMES.interactive,
  data = GOOD_DATA,
  fields = {},
  places = ['wait'],
}: RawJob): Command[] {
  const key = (type: string) => keyOf(queue, type)
  const all: Record<string, string | Buffer | undefined> = {
    name: 'generate',
    data,
    opts: `{"jobId":${JSON.stringify(id)},"attempts":0}`,
    timestamp: String(Date.now()),
    delay: '0',
    priority: '0',
    ...fields,
  }
  const pairs = Object.entries(all).flatMap(([name, value]) => (value === undefined ? [] : [name, value]))
  const placed = places.map((place): Command => {
    if (place === 'prioritized') return ['ZADD', key(place), fields['score'] ?? '42949672961', id]
    if (place === 'delayed') return ['ZADD', key(place), fields['score'] ?? '0', id]
    return ['LPUSH', key(place), id]
  })
  const hash: Command[] = pairs.length === 0 ? [] : [['HSET', key(id), ...pairs]]
  return [...hash, ...placed, ['ZADD', key('marker'), '0', '0']]
}

/** A body as a job's data. */
export function drawJobBody(random: Random, context: DrawContext, draw: DrawBody): Shot {
  const id = context.newId()
  const data = draw(random, { bytes: context.bytes, address: '' })
  const queue = random.pick(Object.values(QUEUE_NAMES))
  const isFirst = random.chance(0.5)
  const places: readonly Place[] = [isFirst ? 'wait' : 'prioritized']
  const fields = isFirst ? {} : { priority: random.pick(['10', '20', '1']) }
  return { kind: 'job', commands: put({ id, queue, data, places, fields }), jobIds: [id] }
}

/** Data that is no JSON, or none at all. */
export function drawNotJsonJob(random: Random, context: DrawContext): Shot {
  const id = context.newId()
  const data = random.pick<() => string | Buffer>([
    () => `${MARK} is not JSON`,
    () => `{"inputs":"${MARK}"`,
    () => `{"inputs":"${MARK}",}`,
    () => `{"inputs":"${MARK}"} x`,
    () => '',
    () => ' ',
    () => 'undefined',
    () => 'NaN',
    () => "{'inputs':'a'}",
    () => '[object Object]',
    () => Buffer.from([0xff, 0xfe, 0x00, 0x01]),
    () => Buffer.from([0x81, 0xa1, 0x61, 0x01]),
    () => '\ufeff{"inputs":"a"}',
    () => fill(context.bytes, '[', {}),
    () => fill(context.bytes, 'a', { head: `"${MARK}` }),
    () => 'null',
    () => '"text"',
    () => '0',
    () => '[]',
    () => 'false',
  ])()
  const isGone = random.chance(0.1)
  return {
    kind: 'job',
    commands: put({
      id,
      data,
      fields: isGone ? { data: undefined } : {},
      queue: random.pick(Object.values(QUEUE_NAMES)),
    }),
    jobIds: [id],
  }
}

const NUMBERS = [
  '',
  '-1',
  '0',
  '1',
  '1.5',
  '1e308',
  'NaN',
  'Infinity',
  '-Infinity',
  'abc',
  '9'.repeat(400),
  '9007199254740993',
  '{}',
  '1e-320',
  '0x10',
] as const

/** Fields of BullMQ's, each with values that it does not write. */
const FIELDS: readonly ((random: Random, bytes: number) => Record<string, string | undefined>)[] = [
  (random) => ({ timestamp: random.pick(NUMBERS) }),
  () => ({ timestamp: String(Date.now() + 1e12) }),
  () => ({ timestamp: undefined }),
  (random) => ({ priority: random.pick(NUMBERS) }),
  (random) => ({ delay: random.pick(NUMBERS) }),
  (random) => ({ ats: random.pick(NUMBERS.filter((text) => /^-?\d{1,15}$/.test(text))) }),
  (random) => ({ atm: random.pick(NUMBERS) }),
  (random) => ({ stc: random.pick(NUMBERS.filter((text) => /^-?\d{1,15}$/.test(text))) }),
  (random) => ({ processedOn: random.pick(NUMBERS) }),
  (random) => ({ finishedOn: random.pick(NUMBERS) }),
  (random) => ({
    opts: random.pick([
      '{}',
      '{"attempts":1e9,"backoff":{"type":"nosuch","delay":-1}}',
      '{"removeOnComplete":{"age":-1}}',
      '{"keepLogs":-1}',
      '{"parent":{"id":"a","queue":"b"}}',
      '{"repeat":{"every":1}}',
      '{"lifo":true,"delay":1e15,"priority":-5}',
      '{"de":"a"}',
    ]),
  }),
  (random, bytes) => ({
    opts: fill(bytes, '"x":0', { head: '{', tail: '}', between: ',' }).replace(
      '{}',
      random.pick(['{}', '[]']),
    ),
  }),
  (random) => ({
    name: random.pick(['', 'other', '__default__', 'a'.repeat(100_000), '\u202e', '[object Object]']),
  }),
  (random) => ({ name: random.chance(0.5) ? undefined : 'generate' }),
  (random) => ({ failedReason: random.pick(['', MARK, 'a'.repeat(100_000)]) }),
  (random) => ({ stacktrace: random.pick(['', '[]', '{}', 'null', '[0,1]', '["a"]', 'null']) }),
  (random) => ({ returnvalue: random.pick(['', 'null', '{', '[1]']) }),
  (random) => ({ defa: random.pick(['', 'given up', MARK]) }),
  () => ({ rjk: 'a:b:c' }),
  () => ({ deid: 'a' }),
  () => ({ pb: 'somebody' }),
  (_random, bytes) => ({ foreign: fill(bytes, 'a') }),
  (_random, bytes) =>
    Object.fromEntries(
      fillWith(Math.min(bytes, 300_000), (n) => `f${n}`)
        .split(',')
        .map((name) => [name, '0']),
    ),
]

/** A good job whose other fields are odd. */
export function drawFieldsJob(random: Random, context: DrawContext): Shot {
  const id = context.newId()
  const drawn = Array.from({ length: random.between(1, 3) }, () => random.pick(FIELDS)(random, context.bytes))
  const fields: Record<string, string | undefined> = Object.assign({}, ...drawn)
  const place = random.weighted<Place>({ wait: 6, prioritized: 3, delayed: 1, paused: 0, active: 0 })
  const score = random.pick([
    '0',
    '1',
    '-inf',
    '+inf',
    '42949672961',
    '1e300',
    String((Date.now() + 300) * 4096),
  ])
  const commands = put({ id, fields, places: [place] })
  const placed = commands.map((command): Command =>
    command[0] === 'ZADD' && command[1]?.toString().endsWith(place)
      ? ['ZADD', command[1], score, id]
      : command,
  )
  return { kind: 'job', commands: placed, jobIds: [id], isDelayed: place === 'delayed' }
}

/** What a job remembers between its attempts, as nobody of ours writes it. */
export function drawProgressJob(random: Random, context: DrawContext): Shot {
  const id = context.newId()
  const { bytes } = context
  const progress = random.pick<() => string>([
    () =>
      `{"hand_backs":${random.pick(['-1', '1e308', '-1e308', '0.5', '"a"', '[]', 'null', '99999999999999999999'])}}`,
    () => fill(bytes, '"a"', { head: '{"failed_with":[', tail: ']}', between: ',' }),
    () => fill(bytes, '{}', { head: '{"failed_with":[', tail: ']}', between: ',' }),
    () => fillWith(bytes, (n) => `"m${n.toString(36)}"`, { head: '{"failed_with":[', tail: ']}' }),
    () => fill(bytes, 'a', { head: '{"failed_with":["', tail: '"]}' }),
    () => fill(bytes, 'a', { head: '{"hand_backs":"', tail: '"}' }),
    () => fillWith(bytes, (n) => `"k${n}":0`, { head: '{', tail: '}' }),
    () => `${'['.repeat(5000)}${']'.repeat(5000)}`,
    () => '{"failed_with":{"length":1e9}}',
    () => '{"__proto__":{"hand_backs":5}}',
    () => random.pick(['null', '5', '"a"', 'true', '[]', '-0', '1e400', '{', 'nonsense', '']),
  ])()
  return { kind: 'job', commands: put({ id, fields: { progress } }), jobIds: [id] }
}

/** Ids that no producer of ours makes. Words of the queue are left out: a job of such a name overwrites the queue's own keys. */
export function drawIdsJob(random: Random, context: DrawContext): Shot {
  const own = context.newId()
  const id = random.pick([
    `${Date.now()}${random.between(0, 999_999)}`,
    `a b ${own}`,
    `a:b:${own}`,
    `{x}${own}`,
    `../${own}`,
    `${own}\u0000\u0001`,
    `🦙${own}`,
    `\u202e${own}`,
    `${own}\r\nx: y`,
    `-${own}`,
    `0:${own}`,
    `0:1`,
    `__proto__`,
    `constructor`,
    own + 'x'.repeat(random.pick([100, 10_000, 1_000_000])),
    `"${own}"`,
    `%2f${own}`,
    `\u001b]52;c;${own}\u0007`,
  ])
  return { kind: 'job', commands: put({ id }), jobIds: id.startsWith('0:') ? [] : [id] }
}

/** Jobs that stand where they should not, twice, or not at all. */
export function drawPlacesJob(random: Random, context: DrawContext): Shot {
  const id = context.newId()
  const kind = random.pick([
    'no hash',
    'twice',
    'both queues',
    'several lists',
    'active',
    'paused',
    'other type',
    'markers',
  ] as const)
  const shot = (commands: Command[], jobIds: readonly string[] = [id]): Shot => ({
    kind: 'job',
    commands,
    jobIds,
  })
  switch (kind) {
    case 'no hash':
      return shot(put({ id }).slice(1), [])
    case 'twice':
      return shot(put({ id, places: ['wait', 'wait'] }))
    case 'both queues':
      return shot([...put({ id }), ...put({ id, queue: QUEUE_NAMES.batch })])
    case 'several lists':
      return shot(put({ id, places: ['wait', 'prioritized', 'delayed'] }))
    case 'active':
      return shot(put({ id, places: ['active'] }))
    case 'paused':
      return shot(put({ id, places: ['paused', 'wait'] }))
    case 'other type':
      return shot(
        [
          ['SET', keyOf(QUEUE_NAMES.interactive, id), 'text'],
          ['LPUSH', keyOf(QUEUE_NAMES.interactive, 'wait'), id],
          ['ZADD', keyOf(QUEUE_NAMES.interactive, 'marker'), '0', '0'],
        ],
        [],
      )
    case 'markers':
      return shot([
        ...put({ id }),
        [
          'ZADD',
          keyOf(QUEUE_NAMES.interactive, 'marker'),
          random.pick(['0', '-1', '1e300', String(Date.now() + 1e9)]),
          random.pick(['1', 'x', id]),
        ],
      ])
  }
}

/** Job bodies that are drawn like those of requests. */
export const JOB_BODIES = Object.entries(BODIES).filter(([name]) => name !== 'not-json')

import type { Random } from '../chaos/random.ts'
import { formatRequest } from './request.ts'
import { MARK, POOL } from './shot.ts'
import type { Conversation, DrawContext, Shot } from './shot.ts'
import { fill } from './text.ts'

/** Connections of a crowd. */
const CROWDS = [10, 50, 250] as const

/** A body that comes slowly, in tiny chunks, or not to its end. */
export function drawSlow(random: Random, context: DrawContext): Shot {
  return { kind: 'http', conversations: [drawConversation(random, context)] }
}

function drawConversation(random: Random, context: DrawContext): Conversation {
  const kind = random.weighted({
    dribble: 2,
    'tiny chunks': 3,
    unfinished: 3,
    'slow head': 1,
    'too large': 2,
  })
  const ending = random.pick(['read', 'abort', 'close'] as const)
  const inputs = { head: `{"pool":"${POOL}","inputs":"`, tail: '"}' }
  switch (kind) {
    case 'dribble': {
      const [head = Buffer.alloc(0), body = Buffer.alloc(0)] = small(context)
      return { pieces: [head, ...slowly(body, 2)], expects: ['POST'], ending: 'read' }
    }
    case 'tiny chunks': {
      const opening = `${inputs.head.length.toString(16)}\r\n${inputs.head}\r\n`
      const count = context.bytes - inputs.head.length - inputs.tail.length
      const chunks = `${opening}${'1\r\na\r\n'.repeat(count)}2\r\n${inputs.tail}\r\n0\r\n\r\n`
      const head = headWith(context, 'Transfer-Encoding: chunked')
      return { pieces: [head, Buffer.from(chunks)], expects: ['POST'], ending: 'read' }
    }
    case 'unfinished': {
      const part = Buffer.from(fill(random.between(1, context.bytes - 1), '['))
      return {
        pieces: [headWith(context, `Content-Length: ${context.bytes}`), part, 20],
        expects: 'any',
        ending,
      }
    }
    case 'slow head': {
      const [head = Buffer.alloc(0)] = small(context)
      const part = head.subarray(0, random.between(1, head.length - 1))
      return { pieces: slowly(part, 1), expects: 'any', ending }
    }
    case 'too large': {
      const body = fill(context.limitBytes + random.pick([1, 1000, 5_000_000]), 'a', inputs)
      return {
        pieces: formatRequest(context, { method: 'POST', path: '/v1/jobs', body }),
        expects: 'any',
        ending: 'read',
      }
    }
  }
}

/** Large bodies on many connections at once, the last byte of each late or never. */
export function drawCrowd(random: Random, context: DrawContext): Shot {
  const count = random.pick(CROWDS)
  const body = Buffer.from(fill(context.limitBytes - 1, random.pick([' ', '[', '"a",'])))
  const head = headWith(context, `Content-Length: ${context.limitBytes}`)
  const isWhole = random.chance(0.5)
  const waitMs = random.pick([0, 300, 2000])
  const conversations = Array.from({ length: count }, (): Conversation => {
    const rest = isWhole ? [Buffer.from('x')] : []
    const ending = isWhole ? 'read' : 'abort'
    return { pieces: [head, body, waitMs, ...rest], expects: 'any', ending }
  })
  return { kind: 'http', conversations, mayOverload: true }
}

function small(context: DrawContext): Buffer[] {
  const body = `{"pool":"${POOL}","inputs":"${MARK}","parameters":{"max_new_tokens":2}}`
  return formatRequest(context, { method: 'POST', path: '/v1/jobs', body })
}

function headWith(context: DrawContext, framing: string): Buffer {
  const headers = ['Content-Type: application/json', framing]
  return Buffer.concat(formatRequest(context, { method: 'POST', path: '/v1/jobs', headers }))
}

/** Byte by byte. */
function slowly(bytes: Buffer, ms: number): (Buffer | number)[] {
  return Array.from(bytes, (byte) => [Buffer.from([byte]), ms]).flat()
}

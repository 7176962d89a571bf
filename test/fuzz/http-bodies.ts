import type { Random } from '../chaos/random.ts'
import type { DrawBody } from './bodies.ts'
import { formatRequest } from './request.ts'
import { POOL } from './shot.ts'
import type { Conversation, DrawContext, Shot } from './shot.ts'

/** A body in a request: to enqueue, as a rule. */
export function drawHttpBody(random: Random, context: DrawContext, draw: DrawBody): Shot {
  const kind = random.weighted({ enqueue: 16, stream: 2, cancel: 3, other: 1 })
  const named = random.chance(0.5) ? `"job_id":"${context.newId()}",` : ''
  const address = kind === 'cancel' ? '' : `"pool":"${POOL}",${named}`
  const body = Buffer.from(draw(random, { bytes: context.bytes, address }))
  const path = kind === 'cancel' ? `/v1/jobs/${context.knownId}/cancel` : '/v1/jobs'
  const headers = kind === 'stream' ? ['Accept: text/event-stream'] : []
  const method = kind === 'other' ? random.pick(['PUT', 'PATCH', 'DELETE', 'GET', 'OPTIONS']) : 'POST'
  const pieces = random.chance(0.15)
    ? chunked(random, context, { method, path, headers, body })
    : formatRequest(context, { method, path, headers, body })
  const conversation: Conversation = { pieces, expects: [method], ending: 'read' }
  return { kind: 'http', conversations: [conversation] }
}

/** The same request with its body in chunks. */
function chunked(
  random: Random,
  context: DrawContext,
  parts: {
    readonly method: string
    readonly path: string
    readonly headers: readonly string[]
    readonly body: Buffer
  },
): Buffer[] {
  const { body, headers, ...line } = parts
  const [head = Buffer.alloc(0)] = formatRequest(context, {
    ...line,
    headers: [...headers, 'Content-Type: application/json', 'Transfer-Encoding: chunked'],
  })
  const size = random.pick([1000, 20_000, 500_000, 5_000_000])
  const chunks: Buffer[] = [head]
  for (let at = 0; at < body.length; at += size) {
    const chunk = body.subarray(at, at + size)
    chunks.push(Buffer.from(`${chunk.length.toString(16)}\r\n`), chunk, Buffer.from('\r\n'))
  }
  return [...chunks, Buffer.from('0\r\n\r\n')]
}

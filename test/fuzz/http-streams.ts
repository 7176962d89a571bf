import type { Random } from '../chaos/random.ts'
import { CURSORS, ODD_NAMES, drawQuery } from './http-routes.ts'
import { ask } from './request.ts'
import type { RequestParts } from './request.ts'
import { MARK, POOL } from './shot.ts'
import type { Conversation, DrawContext, Shot } from './shot.ts'

/** Event streams: odd cursors, many at once, left early. */
export function drawStreams(random: Random, context: DrawContext): Shot {
  const count = random.pick([1, 1, 1, 10, 60])
  const conversations = Array.from({ length: count }, () => drawStream(random, context))
  return { kind: 'http', conversations, mayOverload: true }
}

function drawStream(random: Random, context: DrawContext): Conversation {
  const headers = random.chance(0.6) ? [`Last-Event-ID: ${random.pick(CURSORS)}`] : []
  const id = random.chance(0.75) ? context.knownId : random.pick(ODD_NAMES)
  const method = random.chance(0.9) ? 'GET' : 'HEAD'
  const conversation = ask(context, { method, path: `/v1/jobs/${id}/events${drawQuery(random)}`, headers })
  if (random.chance(0.7)) return { ...conversation, leaveAfterMs: 5000 }
  return { ...conversation, pieces: [...conversation.pieces, random.between(0, 30)], ending: 'abort' }
}

/** A job that is enqueued, read, cancelled and erased at once. */
export function drawRaces(random: Random, context: DrawContext): Shot {
  const id = context.newId()
  const path = `/v1/jobs/${id}`
  const slow = random.chance(0.5) ? ' [slow]' : ''
  const tokens = random.between(1, 200)
  const body = `{"pool":"${POOL}","job_id":"${id}","inputs":"${MARK}${slow}","parameters":{"max_new_tokens":${tokens}}}`
  const enqueue: RequestParts = { method: 'POST', path: '/v1/jobs', body }
  const reason = random.pick(['', 'why', 'a'.repeat(1000), '\\u202e\\n'])
  const others: readonly RequestParts[] = [
    { method: 'POST', path: `${path}/cancel`, body: `{"reason":"${reason}"}` },
    { method: 'POST', path: `${path}/cancel` },
    { method: 'DELETE', path },
    { path: `${path}/events` },
    { path },
    enqueue,
    { ...enqueue, body: body.replace('inputs":"', 'inputs":"b') },
    { ...enqueue, headers: ['Accept: text/event-stream'] },
  ]
  const rest = Array.from({ length: random.between(1, 8) }, () => random.pick(others))
  const conversations = rest.map((parts): Conversation => {
    const conversation = ask(context, parts)
    return { ...conversation, pieces: [random.between(0, 60), ...conversation.pieces], leaveAfterMs: 12_000 }
  })
  const forgets = rest.some(({ method }) => method === 'DELETE')
  return { kind: 'http', conversations: [ask(context, enqueue), ...conversations], forgets }
}

import { isTerminal } from '../../../src/contract/event.ts'
import type { JobEvent } from '../../../src/contract/event.ts'
import { compareIds, QUEUED_ID, SEAL_ID } from '../../../src/contract/stream-id.ts'

/** Holds a log that is over against what every log promises; a sentence when it does not fit. */
export function checkLog(log: readonly JobEvent[]): string | undefined {
  const terminals = log.filter(isTerminal)
  if (terminals.length !== 1 || log.at(-1) !== terminals[0])
    return `${terminals.length} terminal events, or not last`
  if (terminals[0]?.id !== SEAL_ID) return 'a terminal event under an id that is not the seal'
  let tokens = 0
  let writer: string | undefined
  let before: JobEvent | undefined
  for (const event of log) {
    const fault = checkEvent(event, before, tokens, writer)
    if (fault !== undefined) return `${event.id} ${event.event}: ${fault}`
    if (event.event === 'started') writer = event.data.correlation_id
    if (event.event === 'token') tokens += 1
    before = event
  }
  return undefined
}

function checkEvent(
  event: JobEvent,
  before: JobEvent | undefined,
  tokens: number,
  writer: string | undefined,
): string | undefined {
  if (before !== undefined && compareIds(before.id, event.id) >= 0) return `follows ${before.id}`
  switch (event.event) {
    case 'queued':
      return event.id === QUEUED_ID ? undefined : 'not at its place'
    case 'started':
      return expected('next_token', tokens, event.data.next_token)
    case 'token':
      return expected('index', tokens, event.data.i) ?? expected('writer', writer, event.data.t.split('#')[0])
    case 'metrics':
    case 'end':
      return expected('tokens_out', tokens, event.data.tokens_out)
    case 'error': {
      if (event.data.code === 'DEADLINE_UNMET' && writer !== undefined) return 'though it had started'
      if (event.data.code === 'DECODE_TIMEOUT' && writer === undefined) return 'though it had not started'
      return event.data.tokens_out === undefined
        ? undefined
        : expected('tokens_out', tokens, event.data.tokens_out)
    }
  }
}

function expected<T>(what: string, wanted: T, got: T): string | undefined {
  return wanted === got ? undefined : `${what} is ${String(got)} and not ${String(wanted)}`
}

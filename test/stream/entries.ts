import type { EventData } from '../../src/contract/event.ts'
import type { Cursor } from '../../src/contract/stream-id.ts'
import { entryId, QUEUED_ID, SEAL_ID } from '../../src/contract/stream-id.ts'
import { formatEntry } from '../../src/stream/entry.ts'
import type { LogEntry } from '../../src/stream/entry.ts'
import { errorSeal } from '../../src/stream/seal.ts'

/** The epoch of entries whose epoch does not matter. */
export const EPOCH = 1_000

/** `0-1`. */
export const QUEUED: LogEntry = formatEntry(QUEUED_ID, 'queued', {
  digest: 'd',
  accepted_at: 1,
  deadline_at: 2,
  queue_position: 0,
})

/** The first entry of an attempt. */
export function started(epoch: number = EPOCH, nextToken = 0, attempt = 1): LogEntry {
  return formatEntry(entryId(epoch, 1), 'started', {
    attempt,
    engine: 'tgi',
    engine_version: '3.3.7',
    pool_id: 'p',
    replica_id: 'r',
    model_id: 'm',
    seed: 1,
    queue_time_ms: 0,
    determinism: 'best_effort',
    next_token: nextToken,
  })
}

/** The `data` of token `i`. */
export function tokenData(i: number): EventData['token'] {
  return { t: `t${i}`, i, id: i, logprob: -0.5 }
}

/** Token `i`, as the first attempt of an epoch writes it. */
export function token(i: number, epoch: number = EPOCH): LogEntry {
  return formatEntry(entryId(epoch, i + 2), 'token', tokenData(i))
}

/** Tokens from 0. */
export function tokens(count: number, epoch: number = EPOCH): LogEntry[] {
  return Array.from({ length: count }, (_, i) => token(i, epoch))
}

/** The `data` of the end after so many tokens. */
export function endData(tokensOut: number): EventData['end'] {
  return {
    finish_reason: 'length',
    tokens_out: tokensOut,
    queue_time_ms: 0,
    first_token_ms: 0,
    decode_time_ms: 0,
    seed: 1,
    text: '',
    attempts: 1,
    exact: true,
  }
}

/** The end after so many tokens. */
export function end(tokensOut: number): LogEntry {
  return formatEntry(SEAL_ID, 'end', endData(tokensOut))
}

/** The seal of somebody who cancels. */
export const CANCELLED: LogEntry = errorSeal('CANCELLED', { message: 'cancelled', pool_id: 'p' })

/** The ids of entries. */
export function idsOf(entries: readonly { readonly id: Cursor }[]): Cursor[] {
  return entries.map((entry) => entry.id)
}

import type { RedisConnection } from '../../src/redis/connect.ts'
import { expect } from 'vitest'
import type { PoolClient } from '../../src/client/pool-client.ts'
import type { EventData, EventName, JobEvent } from '../../src/contract/event.ts'
import { isTerminal } from '../../src/contract/event.ts'
import type { PoolKeys } from '../../src/contract/keys.ts'
import { SEAL_ID } from '../../src/contract/stream-id.ts'
import { parseEntry, parseRawEntry } from '../../src/stream/entry.ts'
import type { RawEntry } from '../../src/stream/entry.ts'

/** One kind of event. */
export type EventOf<Name extends EventName> = Extract<JobEvent, { event: Name }>

/** A job's whole stream, straight from Redis. */
export async function readLog(redis: RedisConnection, keys: PoolKeys, jobId: string): Promise<JobEvent[]> {
  const entries = (await redis.xrange(keys.events(jobId), '-', '+')) as RawEntry[]
  return entries.map((entry) => parseEntry(parseRawEntry(entry)))
}

/** The events of one name. */
export function only<Name extends EventName>(events: readonly JobEvent[], name: Name): EventOf<Name>[] {
  return events.filter((event): event is EventOf<Name> => event.event === name)
}

/** What a job's stream must be when it is over, whatever happened to it. */
export function expectSound(events: readonly JobEvent[]): void {
  const terminals = events.filter(isTerminal)
  expect(terminals.map(({ id }) => id)).toEqual([SEAL_ID])
  expect(events.at(-1)?.id).toBe(SEAL_ID)
  expect(only(events, 'queued').length).toBeLessThanOrEqual(1)
  const tokens = only(events, 'token')
  expect(tokens.map(({ data }) => data.i)).toEqual(tokens.map((_, index) => index))
  const starts = only(events, 'started')
  expect(starts.map(({ data }) => data.attempt)).toEqual(starts.map((_, index) => index + 1))
  const [terminal] = terminals
  if (terminal?.event === 'end') expect(terminal.data.tokens_out).toBe(tokens.length)
  else if (terminal?.data.tokens_out !== undefined) expect(terminal.data.tokens_out).toBe(tokens.length)
}

/** Reads a job's events live to its terminal one; a `restart` drops what was read. */
export async function collect(client: PoolClient, jobId: string, after?: string): Promise<JobEvent[]> {
  let events: JobEvent[] = []
  for await (const event of client.events(jobId, { after })) {
    if (event.event === 'restart') events = []
    else events.push(event)
  }
  return events
}

/** The `end` of a job that must have one; sound all through. */
export function endOf(events: readonly JobEvent[]): EventData['end'] {
  expectSound(events)
  const last = events.at(-1)
  if (last?.event !== 'end') throw new Error(`expected an end, got ${JSON.stringify(last)}`)
  return last.data
}

/** The `error` of a job that must have one; sound all through. */
export function errorOf(events: readonly JobEvent[]): EventData['error'] {
  expectSound(events)
  const last = events.at(-1)
  if (last?.event !== 'error') throw new Error(`expected an error, got ${JSON.stringify(last)}`)
  return last.data
}

/** The text that tokens add up to, special ones left out. */
export function textOf(events: readonly JobEvent[]): string {
  return only(events, 'token')
    .map(({ data }) => (data.special === true ? '' : data.t))
    .join('')
}

/** Waits until a job's stream holds a token, at least `count` of them. */
export async function tokensIn(
  redis: RedisConnection,
  keys: PoolKeys,
  jobId: string,
  count = 1,
): Promise<void> {
  await expect
    .poll(async () => only(await readLog(redis, keys, jobId), 'token').length, { interval: 5 })
    .toBeGreaterThanOrEqual(count)
}

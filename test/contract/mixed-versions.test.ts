import { expect, test } from 'vitest'
import { parseJob } from '../../src/contract/job.ts'
import { poolConfigSchema } from '../../src/contract/pool-config.ts'
import { replicaEntrySchema } from '../../src/contract/replica-entry.ts'
import { parseEntry, parseRawEntry } from '../../src/stream/entry.ts'

/** What a version does with what a newer one wrote: the table in docs/upgrading.md. */

const readEvent = (event: string, data: object) =>
  parseEntry(parseRawEntry(['1-2', ['event', event, 'data', JSON.stringify(data)]]))
const accepts = (entry: object) => replicaEntrySchema.safeParse(entry).success
const ERROR = { code: 'CANCELLED', message: 'cancelled', retriable: false, engine: 'tgi', pool_id: 'p' }
const ENTRY = {
  replica_id: 'gpu-1',
  worker_id: 'w',
  url: 'http://127.0.0.1:1',
  state: 'ready',
  versions: { engine: 'tgi', engine_version: '3', model_id: 'm', model_sha: null, max_total_tokens: 10 },
  slots: 1,
  slots_configured: 1,
  busy: 0,
  capabilities: [],
  updated_at: 1,
}

test('unknown fields of a known event are ignored', () => {
  expect(readEvent('error', { ...ERROR, new_field: 1 })).toEqual(readEvent('error', ERROR))
  expect(readEvent('token', { t: 'a', i: 0, id: 1, logprob: null, new_field: 1 })).toMatchObject({
    data: { t: 'a', i: 0 },
  })
})

test.each([
  ['event', 'new_event', {}],
  ['error code', 'error', { ...ERROR, code: 'NEW_CODE' }],
  ['engine', 'error', { ...ERROR, engine: 'new' }],
])('an unknown %s fails the reader', (_, event, data) => {
  expect(() => readEvent(event, data)).toThrow(expect.objectContaining({ kind: 'INTERNAL' }))
})

test("unknown fields of a replica's entry are ignored; an unknown engine or state is refused", () => {
  expect(accepts(ENTRY)).toBe(true)
  expect(accepts({ ...ENTRY, new_field: 1, versions: { ...ENTRY.versions, new_field: 1 } })).toBe(true)
  expect(accepts({ ...ENTRY, versions: { ...ENTRY.versions, engine: 'new' } })).toBe(false)
  expect(accepts({ ...ENTRY, state: 'new' })).toBe(false)
})

test('unknown settings of a pool are ignored; a value that is not allowed is refused', () => {
  expect(poolConfigSchema.parse({ new_setting: 1 })).toEqual(poolConfigSchema.parse({}))
  expect(poolConfigSchema.safeParse({ max_attempts: 'many' }).success).toBe(false)
})

test("an unknown field of a job's body is INVALID_PARAMS", () => {
  expect(() => parseJob({ inputs: 'a', new_field: 1 })).toThrow(
    expect.objectContaining({ kind: 'INVALID_PARAMS' }),
  )
})

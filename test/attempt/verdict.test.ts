import { expect, test } from 'vitest'
import { Divergence, Interruption } from '../../src/attempt/interruption.ts'
import type { InterruptionKind } from '../../src/attempt/interruption.ts'
import { verdictOn } from '../../src/attempt/verdict.ts'
import { TgiError } from '../../src/tgi/error.ts'
import type { TgiErrorKind } from '../../src/tgi/error.ts'

const facts = { mayNotGoOn: false, lockMs: 5000, attempt: 1 }
const most = () => 1

const faults: [TgiErrorKind, { before: string; after: string; counts?: boolean; replica: string }][] = [
  ['validation', { before: 'INVALID_PARAMS', after: 'INVALID_PARAMS', replica: 'ok' }],
  ['refused', { before: 'INVALID_PARAMS', after: 'INVALID_PARAMS', replica: 'ok' }],
  ['too_large', { before: 'INVALID_PARAMS', after: 'INVALID_PARAMS', replica: 'ok' }],
  ['overloaded', { before: 'back', after: 'WORKER_RESET', counts: false, replica: 'overloaded' }],
  ['connect', { before: 'back', after: 'WORKER_RESET', counts: false, replica: 'fault' }],
  ['unauthorized', { before: 'back', after: 'WORKER_RESET', counts: false, replica: 'fault' }],
  ['generation', { before: 'back', after: 'WORKER_RESET', counts: true, replica: 'fault' }],
  ['incomplete', { before: 'back', after: 'WORKER_RESET', counts: true, replica: 'fault' }],
  ['disconnected', { before: 'back', after: 'WORKER_RESET', counts: true, replica: 'fault' }],
  ['no_final_event', { before: 'back', after: 'WORKER_RESET', counts: true, replica: 'fault' }],
  ['first_token_timeout', { before: 'back', after: 'WORKER_RESET', counts: true, replica: 'fault' }],
  ['token_timeout', { before: 'back', after: 'WORKER_RESET', counts: true, replica: 'fault' }],
  ['malformed', { before: 'back', after: 'WORKER_RESET', counts: true, replica: 'fault' }],
  ['http', { before: 'back', after: 'WORKER_RESET', counts: true, replica: 'fault' }],
]

test.each(faults)(
  'a replica fault %s is run again or goes on, and is sealed where the job may not go on',
  (kind, want) => {
    const error = new TgiError(kind, 'what the replica said')
    const before = verdictOn(error, facts, most)
    expect(before.kind === 'seal' ? before.code : before.kind).toBe(want.before)
    expect(before.replica).toBe(want.replica)
    if (before.kind === 'back') expect(before.counts).toBe(want.counts)
    const after = verdictOn(error, { ...facts, mayNotGoOn: true }, most)
    expect(after).toMatchObject({ kind: 'seal', code: want.after, message: 'what the replica said' })
  },
)

const interruptions: [InterruptionKind, object, object][] = [
  ['sealed', { kind: 'over' }, { kind: 'over' }],
  ['deadline', { kind: 'seal', code: 'DECODE_TIMEOUT' }, { kind: 'seal', code: 'DECODE_TIMEOUT' }],
  ['lock_lost', { kind: 'back', delayMs: 5000 }, { kind: 'back', delayMs: 5000 }],
  ['fenced', { kind: 'back', delayMs: 5000 }, { kind: 'back', delayMs: 5000 }],
  ['overtaken', { kind: 'back', delayMs: 0, counts: false }, { kind: 'back', delayMs: 0, counts: false }],
  ['lease_lost', { kind: 'back', counts: true }, { kind: 'seal', code: 'WORKER_RESET' }],
  ['drain', { kind: 'back', counts: false, delayMs: 0 }, { kind: 'seal', code: 'WORKER_RESET' }],
]

test.each(interruptions)(
  'an attempt interrupted by %s says nothing of the replica',
  (kind, before, after) => {
    const interruption = new Interruption(kind)
    expect(verdictOn(interruption, facts)).toMatchObject(before)
    expect(verdictOn(interruption, { ...facts, mayNotGoOn: true })).toMatchObject(after)
    expect(verdictOn(interruption, facts).replica).toBeUndefined()
  },
)

test('the wait before the next attempt doubles up to five seconds, and is spread', () => {
  const error = new TgiError('generation', 'x')
  const delays = [1, 2, 3, 9].map((attempt) => verdictOn(error, { ...facts, attempt }, most))
  expect(delays.map((verdict) => verdict.kind === 'back' && verdict.delayMs)).toEqual([100, 200, 400, 5000])
  expect(verdictOn(error, facts, () => 0)).toMatchObject({ delayMs: 50 })
})

test('a fault of our own ends the job as one, and is not blamed on the replica', () => {
  expect(verdictOn(new TypeError('secret prompt'), facts)).toEqual({
    kind: 'seal',
    code: 'INTERNAL',
    message: 'internal fault (TypeError)',
  })
})

test('a replay that diverges ends the job by that name, whatever else it says', () => {
  expect(verdictOn(new Divergence(7), facts)).toEqual({
    kind: 'seal',
    code: 'REPLAY_DIVERGED',
    message: 'token 7 came otherwise when the answer was repeated',
  })
})

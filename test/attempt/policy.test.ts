import { describe, expect, test } from 'vitest'
import { Divergence, Interruption } from '../../src/attempt/interruption.ts'
import type { InterruptionKind } from '../../src/attempt/interruption.ts'
import { countSpent, decide, decideBuildGone, decideGivenUp, decidePickUp } from '../../src/attempt/policy.ts'
import type { AttemptFacts, Decision } from '../../src/attempt/policy.ts'
import { TgiError } from '../../src/tgi/error.ts'
import type { TgiErrorKind } from '../../src/tgi/error.ts'

const FACTS: AttemptFacts = {
  begun: true,
  tokens: 0,
  spent: 1,
  maxAttempts: 5,
  onInterrupt: undefined,
  lockMs: 5000,
}
/** Always the longest wait. */
const most = () => 1

/** `back <attempt> <delay>`, a code, or `over`. */
function summary(decision: Decision): string {
  if (decision.kind === 'seal') return decision.code
  return decision.kind === 'over' ? 'over' : `back ${decision.attempt} ${decision.delayMs}`
}

interface Row {
  /** Its first attempt of five, before any token. */
  readonly first: string
  /** With tokens, and a job that says `on_interrupt: fail`. */
  readonly mayNotGoOn: string
  /** The fifth attempt of five, before the first token and after it. */
  readonly last: readonly [string, string]
  /** Its `started` is not in the stream. */
  readonly notBegun: string
  readonly replica?: 'ok' | 'fault' | 'engine fault' | 'overloaded'
}

const refused = {
  first: 'INVALID_PARAMS',
  mayNotGoOn: 'INVALID_PARAMS',
  last: ['INVALID_PARAMS', 'INVALID_PARAMS'],
  notBegun: 'back not_begun 500',
  replica: 'ok',
} as const satisfies Row
const unharmed = {
  first: 'back unharmed 100',
  mayNotGoOn: 'WORKER_RESET',
  last: ['back unharmed 1600', 'back unharmed 1600'],
  notBegun: 'back not_begun 500',
} as const satisfies Row
const spent = {
  first: 'back spent 100',
  mayNotGoOn: 'WORKER_RESET',
  last: ['REPLICA_EXHAUSTED', 'WORKER_RESET'],
  notBegun: 'back not_begun 500',
} as const satisfies Row

const FAULTS: Record<TgiErrorKind, Row> = {
  validation: refused,
  refused,
  too_large: refused,
  overloaded: { ...unharmed, replica: 'overloaded' },
  connect: { ...unharmed, replica: 'fault' },
  unauthorized: { ...unharmed, replica: 'fault' },
  unhealthy: { ...unharmed, replica: 'fault' },
  generation: { ...spent, replica: 'engine fault' },
  incomplete: { ...spent, replica: 'engine fault' },
  disconnected: { ...spent, replica: 'engine fault' },
  no_final_event: { ...spent, replica: 'fault' },
  first_token_timeout: { ...spent, replica: 'fault' },
  token_timeout: { ...spent, replica: 'fault' },
  timeout: { ...spent, replica: 'fault' },
  malformed: { ...spent, replica: 'fault' },
  not_tgi: { ...spent, replica: 'fault' },
  http: { ...spent, replica: 'fault' },
}

function always(result: string): Row {
  return { first: result, mayNotGoOn: result, last: [result, result], notBegun: result }
}

const INTERRUPTIONS: Record<InterruptionKind, Row> = {
  sealed: always('over'),
  deadline: always('DECODE_TIMEOUT'),
  lock_lost: { ...always('back spent 5000'), notBegun: 'back not_begun 5000' },
  fenced: { ...always('back spent 5000'), notBegun: 'back not_begun 5000' },
  overtaken: always('back not_begun 0'),
  lease_lost: { ...spent, notBegun: 'back not_begun 100' },
  drain: {
    first: 'back unharmed 0',
    mayNotGoOn: 'WORKER_RESET',
    last: ['back unharmed 0', 'back unharmed 0'],
    notBegun: 'back not_begun 0',
  },
  elsewhere: always('back not_begun 250'),
  left_to_others: always('back not_begun 0'),
  apart: always('back not_begun 0'),
  our_fault: always('back not_begun 1000'),
}

function check(cause: unknown, want: Row): void {
  const by = (facts: Partial<AttemptFacts>) => decide(cause, { ...FACTS, ...facts }, most)
  expect(summary(by({}))).toBe(want.first)
  expect(summary(by({ tokens: 3, onInterrupt: 'fail' }))).toBe(want.mayNotGoOn)
  expect(summary(by({ spent: 5 }))).toBe(want.last[0])
  expect(summary(by({ spent: 5, tokens: 3 }))).toBe(want.last[1])
  expect(summary(by({ begun: false, spent: 1 }))).toBe(want.notBegun)
  for (const { replica } of [by({}), by({ spent: 5 }), by({ begun: false })]) {
    const verdict = replica?.kind === 'fault' && replica.engine ? 'engine fault' : replica?.kind
    expect(verdict).toBe(want.replica)
  }
}

describe('the policy', () => {
  test.each(Object.entries(FAULTS))('after a fault of the kind %s', (kind, want) =>
    check(new TgiError(kind as TgiErrorKind, 'what the replica said'), want),
  )

  test.each(Object.entries(INTERRUPTIONS))('after the interruption %s', (kind, want) =>
    check(new Interruption(kind as InterruptionKind), want),
  )

  test('doubles the wait with every attempt that counts, up to five seconds, and spreads it', () => {
    const error = new TgiError('generation', 'x')
    const facts = { ...FACTS, maxAttempts: 20 }
    const waits = [1, 2, 3, 9].map((n) => summary(decide(error, { ...facts, spent: n }, most)))
    expect(waits).toEqual(['back spent 100', 'back spent 200', 'back spent 400', 'back spent 5000'])
    expect(decide(error, FACTS, () => 0)).toMatchObject({ delayMs: 50 })
  })

  test.each(['left_to_others', 'apart'] as const)(
    'lets a job that is %s wait when no other worker took it',
    (kind) => {
      const facts = { ...FACTS, begun: false, sentAwayAgain: true }
      expect(summary(decide(new Interruption(kind), facts))).toBe('back not_begun 500')
    },
  )

  test.each(['generation', 'incomplete', 'disconnected', 'http', 'malformed'] as const)(
    'charges no attempt for the fault %s where another job is the suspect, if it is the engine that failed',
    (kind) => {
      const facts = { ...FACTS, tokens: 3, spent: 5, isVictim: true }
      const isEngine = kind !== 'http' && kind !== 'malformed'
      expect(summary(decide(new TgiError(kind, 'x'), facts, most))).toBe(
        isEngine ? 'back unharmed 1600' : 'WORKER_RESET',
      )
    },
  )

  test('leaves a replica alone for as long as it asks', () => {
    const busy = new TgiError('overloaded', 'busy', { retryAfterMs: 3000 })
    expect(decide(busy, FACTS).replica).toEqual({ kind: 'overloaded', retryAfterMs: 3000 })
  })

  test('gives the last cause to a job whose attempts are used up', () => {
    const error = new TgiError('http', 'http://gpu-1:8080 answered HTTP 502')
    expect(decide(error, { ...FACTS, spent: 5 }).message).toBe(
      '5 attempts failed before the first token; last: http://gpu-1:8080 answered HTTP 502',
    )
    expect(decide(error, { ...FACTS, spent: 1, maxAttempts: 1, tokens: 2 }).message).toBe(
      '1 attempt failed before the answer was complete; last: http://gpu-1:8080 answered HTTP 502',
    )
  })

  test('blames no replica for a fault of our own, and quotes nothing of it', () => {
    expect(decide(new TypeError('secret prompt'), FACTS)).toEqual({
      kind: 'seal',
      code: 'INTERNAL',
      message: 'internal fault (TypeError)',
    })
  })

  test('ends a replay that diverges by that name, whatever the job says', () => {
    for (const facts of [FACTS, { ...FACTS, spent: 5, tokens: 9, onInterrupt: 'fail' as const }])
      expect(decide(new Divergence(7), facts)).toEqual({
        kind: 'seal',
        code: 'REPLAY_DIVERGED',
        message: 'token 7 differed when the answer was repeated',
      })
  })
})

describe('at pick-up', () => {
  const facts = { tokens: 0, spent: 0, maxAttempts: 5, onInterrupt: undefined, lastReplica: 'gpu-1' }

  test.each([
    [{ lastReplica: undefined }, undefined],
    [{ spent: 4 }, undefined],
    [{ spent: 4, tokens: 3 }, undefined],
    [{ spent: 5 }, 'REPLICA_EXHAUSTED'],
    [{ spent: 45 }, 'REPLICA_EXHAUSTED'],
    [{ spent: 5, tokens: 3 }, 'WORKER_RESET'],
    [{ spent: 1, tokens: 3, onInterrupt: 'fail' as const }, 'WORKER_RESET'],
    [{ spent: 1, tokens: 0, onInterrupt: 'fail' as const }, undefined],
  ])('%j', (change, code) => {
    const ended = decidePickUp({ ...facts, ...change })
    expect(ended?.code).toBe(code)
    if (ended !== undefined) expect(ended.message).toContain('the worker of gpu-1 died')
  })

  test.each([
    // Workers that died before they had begun are in no attempt of the stream, those that died later are in both.
    [{ attempts: 0, handBacks: 0, deaths: 0 }, 0],
    [{ attempts: 0, handBacks: 0, deaths: 3 }, 3],
    [{ attempts: 3, handBacks: 0, deaths: 3 }, 3],
    [{ attempts: 3, handBacks: 0, deaths: 1 }, 3],
    [{ attempts: 7, handBacks: 6, deaths: 1 }, 1],
    [{ attempts: 7, handBacks: 6, deaths: 4 }, 4],
    // A producer may have written the queue's memory.
    [{ attempts: 2, handBacks: 1_000_000, deaths: 0 }, 0],
    [{ attempts: 2, handBacks: 1_000_000, deaths: 5 }, 5],
  ])('what counts of %j is %s', (history, expected) => {
    expect(countSpent(history)).toBe(expected)
  })

  test('a job that is not even looked at any more', () => {
    const ended = [0, 3].map((tokens) => decideGivenUp({ tokens, spent: 5 }))
    expect(ended.map(({ code }) => code)).toEqual(['REPLICA_EXHAUSTED', 'WORKER_RESET'])
    expect(ended[0]?.message).toBe('5 attempts failed before the first token; last: its worker died')
  })

  test('an answer whose build is gone', () => {
    expect(decideBuildGone({ engine_version: '3.3.7+sha-abc', model_id: 'm' })).toEqual({
      code: 'WORKER_RESET',
      message: 'the answer can only be repeated by m on 3.3.7+sha-abc, which no replica of the pool runs',
    })
  })
})

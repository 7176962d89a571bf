import { describe, expect, test } from 'vitest'
import { createBreaker } from '../../src/replica/breaker.ts'
import type { Breaker } from '../../src/replica/breaker.ts'

/** Always the longest wait, so that times can be compared. */
const most = () => 1
const OK = { kind: 'ok' } as const

function fault(...keys: string[]) {
  return { kind: 'fault', keys } as const
}

function overloaded(retryAfterMs?: number) {
  return { kind: 'overloaded', retryAfterMs } as const
}

/** Three jobs have failed. */
function inTrial(): Breaker {
  const breaker = createBreaker(most)
  for (const job of ['a', 'b', 'c']) breaker.record(fault(job), 0)
  return breaker
}

/** The trial has failed, too. */
function opened(): Breaker {
  const breaker = inTrial()
  breaker.endTrial('failed', 0)
  return breaker
}

/** One job at a time. */
function halfOpen(): Breaker {
  const breaker = inTrial()
  breaker.endTrial('suspect', 0)
  return breaker
}

describe('faults', () => {
  test('of two jobs in a row leave it closed; a third one leads to a trial, and no job is let in', () => {
    const breaker = createBreaker(most)
    breaker.record(fault('a'), 0)
    breaker.record(fault('b'), 0)
    expect([breaker.state, breaker.admit(0)]).toEqual(['closed', true])
    breaker.record(fault('c'), 0)
    expect([breaker.state, breaker.admit(0), breaker.openUntil]).toEqual(['trial', false, undefined])
  })

  test('of one job count once', () => {
    const breaker = createBreaker(most)
    for (let n = 0; n < 50; n += 1) breaker.record(fault('a'), n)
    for (let n = 0; n < 50; n += 1) breaker.record(fault('b'), n)
    expect(breaker.state).toBe('closed')
  })

  test('that no job can have caused count each time', () => {
    const breaker = createBreaker(most)
    for (let n = 0; n < 2; n += 1) breaker.record(fault(), n)
    expect(breaker.state).toBe('closed')
    breaker.record(fault(), 2)
    expect(breaker.state).toBe('trial')
  })

  test('of jobs that failed together count once', () => {
    const breaker = createBreaker(most)
    for (const job of ['a', 'b', 'c', 'd']) breaker.record(fault(job, 'event'), 0)
    expect(breaker.state).toBe('closed')
    breaker.record(fault('e', 'other event'), 0)
    breaker.record(fault('f', 'third event'), 0)
    expect(breaker.state).toBe('trial')
  })

  test('count from the start after an answer', () => {
    const breaker = createBreaker(most)
    for (const met of [fault('a'), fault('b'), OK, fault('a'), fault('b')]) breaker.record(met, 0)
    expect(breaker.state).toBe('closed')
  })

  test('say nothing of the replica before the trial has failed', () => {
    expect([inTrial().cause, opened().cause, halfOpen().cause]).toEqual([undefined, 'faults', 'faults'])
  })
})

describe('a trial', () => {
  test('that passes closes it', () => {
    const breaker = inTrial()
    breaker.endTrial('passed', 0)
    expect([breaker.state, breaker.admit(0), breaker.admit(0)]).toEqual(['closed', true, true])
  })

  test('that fails opens it, and another one follows when its time is up', () => {
    const breaker = opened()
    expect(breaker.openUntil).toBe(500)
    breaker.expire(499)
    expect(breaker.state).toBe('open')
    breaker.expire(500)
    expect(breaker.state).toBe('trial')
    expect(breaker.admit(500)).toBe(false)
  })

  test('that fails again opens it for twice as long, up to half a minute', () => {
    const breaker = opened()
    const waits: number[] = []
    for (let now = 500; waits.length < 8; now = breaker.openUntil ?? 0) {
      breaker.expire(now)
      breaker.endTrial('failed', now)
      waits.push((breaker.openUntil ?? 0) - now)
    }
    expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000])
  })

  test('that passes after one that failed lets in one job at a time, whose answer closes it', () => {
    const breaker = opened()
    breaker.expire(500)
    breaker.endTrial('passed', 510)
    expect([breaker.state, breaker.admit(510), breaker.probe, breaker.admit(510)]).toEqual([
      'half_open',
      true,
      1,
      false,
    ])
    breaker.record(OK, 520)
    expect([breaker.state, breaker.cause, breaker.admit(520)]).toEqual(['closed', undefined, true])
  })

  test('says nothing once the replica is another one', () => {
    const breaker = inTrial()
    breaker.reset()
    breaker.endTrial('failed', 0)
    expect([breaker.state, breaker.cause]).toEqual(['closed', undefined])
  })

  test('is not what faults of attempts that still ran end', () => {
    const breaker = opened()
    for (let n = 0; n < 64; n += 1) breaker.record(fault(`late ${n}`), n)
    expect(breaker.openUntil).toBe(500)
  })
})

describe('half open', () => {
  test('a job that has failed before says nothing when it fails again, and gives its place to the next one', () => {
    const breaker = halfOpen()
    breaker.admit(0)
    breaker.record(fault('a'), 0)
    expect([breaker.state, breaker.admit(0)]).toEqual(['half_open', true])
  })

  test('another job that fails opens it for longer', () => {
    const breaker = halfOpen()
    breaker.admit(0)
    breaker.record(fault('new'), 0)
    expect(breaker.openUntil).toBe(500)
    breaker.expire(500)
    expect(breaker.state).toBe('trial')
  })

  test('without a job for ten seconds it closes: a replica without work does not look sick for ever', () => {
    const breaker = halfOpen()
    expect(breaker.expiresAt).toBe(10_000)
    breaker.expire(9_999)
    expect(breaker.state).toBe('half_open')
    breaker.admit(9_999)
    breaker.expire(10_000)
    expect([breaker.state, breaker.expiresAt]).toEqual(['half_open', undefined])
    breaker.forget(1)
    breaker.expire(10_001)
    expect([breaker.state, breaker.cause]).toEqual(['closed', undefined])
  })

  test('a job that says nothing gives its place to the next one', () => {
    const breaker = halfOpen()
    breaker.admit(0)
    breaker.forget(1)
    expect(breaker.admit(0)).toBe(true)
  })

  test('a job that ends after its place was given on does not free the place of the one after it', () => {
    const breaker = halfOpen()
    breaker.admit(0)
    breaker.record(fault('a'), 0)
    breaker.admit(0)
    breaker.forget(1)
    expect([breaker.probe, breaker.admit(0)]).toEqual([2, false])
  })
})

describe('an overload', () => {
  test('opens it at once, for a short time that grows while overloads last', () => {
    const breaker = createBreaker(most)
    breaker.record(overloaded(), 0)
    expect([breaker.openUntil, breaker.cause]).toEqual([50, 'overloaded'])
    expect(breaker.admit(50)).toBe(true)
    breaker.record(overloaded(), 50)
    expect(breaker.openUntil).toBe(150)
  })

  test('opens it at least for as long as the replica asks, whoever of several asks for longest', () => {
    const breaker = createBreaker(most)
    breaker.record(overloaded(3000), 0)
    expect(breaker.openUntil).toBe(3000)
    breaker.record(overloaded(1000), 10)
    breaker.record(overloaded(4000), 20)
    expect(breaker.openUntil).toBe(4020)
    expect([breaker.admit(4019), breaker.admit(4020)]).toEqual([false, true])
  })

  test('is waited for with some spread, so that workers do not come back together', () => {
    const breaker = createBreaker(() => 0)
    breaker.record(overloaded(), 0)
    expect(breaker.openUntil).toBe(25)
  })
})

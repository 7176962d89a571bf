import { expect, test } from 'vitest'
import { createBreaker } from '../../src/replica/breaker.ts'

/** Always the longest wait, so that times can be told. */
const most = () => 1

test('stays closed through two faults in a row and opens at the third', () => {
  const breaker = createBreaker(most)
  breaker.record('fault', 0)
  breaker.record('fault', 0)
  expect(breaker.admit(0)).toBe(true)
  breaker.record('fault', 0)
  expect(breaker.admit(0)).toBe(false)
  expect(breaker.openUntil).toBe(500)
})

test('an answer between faults makes it count from the start', () => {
  const breaker = createBreaker(most)
  for (const result of ['fault', 'fault', 'ok', 'fault', 'fault'] as const) breaker.record(result, 0)
  expect(breaker.admit(0)).toBe(true)
})

test('when its time is up one attempt may probe, and no other beside it', () => {
  const breaker = opened()
  expect(breaker.admit(499)).toBe(false)
  expect(breaker.admit(500)).toBe(true)
  expect(breaker.probing).toBe(true)
  expect(breaker.admit(500)).toBe(false)
})

test('a probe that is answered closes it', () => {
  const breaker = opened()
  breaker.admit(500)
  breaker.record('ok', 510)
  expect([breaker.admit(510), breaker.admit(510), breaker.probing]).toEqual([true, true, false])
})

test('a probe that fails opens it for twice as long, up to half a minute', () => {
  const breaker = opened()
  const waits: number[] = []
  for (let now = 500; waits.length < 8; now = breaker.openUntil ?? 0) {
    expect(breaker.admit(now)).toBe(true)
    breaker.record('fault', now)
    waits.push((breaker.openUntil ?? 0) - now)
  }
  expect(waits).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000])
})

test('faults of attempts that ran beside the one that opened it do not make it wait longer', () => {
  const breaker = createBreaker(most)
  for (let n = 0; n < 64; n += 1) breaker.record('fault', n)
  expect(breaker.openUntil).toBe(502)
  expect(breaker.cause).toBe('faults')
})

test('a replica that was started anew begins with a clean sheet', () => {
  const breaker = opened()
  breaker.reset()
  expect([breaker.admit(0), breaker.cause]).toEqual([true, undefined])
})

test('a probe that tells nothing gives its place to the next one', () => {
  const breaker = opened()
  breaker.admit(500)
  breaker.forget()
  expect(breaker.admit(500)).toBe(true)
})

test('one overload opens it at once, for a short time that grows while overloads last', () => {
  const breaker = createBreaker(most)
  breaker.record('overloaded', 0)
  expect(breaker.openUntil).toBe(50)
  breaker.admit(50)
  breaker.record('overloaded', 50)
  expect(breaker.openUntil).toBe(150)
})

test('the wait is spread over its second half, so that workers do not come back together', () => {
  const breaker = createBreaker(() => 0)
  breaker.record('overloaded', 0)
  expect(breaker.openUntil).toBe(25)
})

function opened() {
  const breaker = createBreaker(most)
  for (let n = 0; n < 3; n += 1) breaker.record('fault', 0)
  return breaker
}

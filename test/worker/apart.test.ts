import { expect, test } from 'vitest'
import { createApart } from '../../src/worker/apart.ts'

test('jobs that ran beside each other and fail at once share an event; one without a token is the suspect', () => {
  const apart = createApart()
  const [mate, other, bad] = [apart.enter([], 0), apart.enter([], 1), apart.enter([], 2)]
  const victim = mate.fail(true, 100)
  expect(victim.isVictim).toBe(false)
  const suspect = bad.fail(false, 101)
  const late = other.fail(true, 150)
  expect([victim.event, late.event]).toEqual([suspect.event, suspect.event])
  expect([victim.isVictim, late.isVictim, suspect.isVictim]).toEqual([true, true, false])
})

test('a job that began after the fault, or fails long after it, is not part of its event', () => {
  const apart = createApart()
  const [first, longRunning] = [apart.enter([], 0), apart.enter([], 0)]
  const { event } = first.fail(false, 100)
  expect(apart.enter([], 101).fail(true, 110)).toMatchObject({ isVictim: false })
  const later = longRunning.fail(true, 5000)
  expect(later.event).not.toBe(event)
  expect(later.isVictim).toBe(false)
})

test('a suspect waits for every job of its event, a victim for suspects only', () => {
  const apart = createApart()
  const [a, b, c] = [apart.enter([], 0), apart.enter([], 0), apart.enter([], 0)]
  const suspect = a.fail(false, 10).mark
  const victims = [b.fail(true, 10).mark, c.fail(true, 10).mark]
  for (const neighbour of [a, b, c]) neighbour.leave()
  const waits = () => [suspect, ...victims].map((mark) => apart.mustWait([mark]))
  expect(waits()).toEqual([false, false, false])

  const victim = apart.enter([victims[0] ?? ''], 20)
  expect(waits()).toEqual([true, false, false])
  victim.leave()
  const again = apart.enter(['another event', suspect], 30)
  expect(waits()).toEqual([true, true, true])
  expect([apart.mustWait([]), apart.mustWait(['another event'])]).toEqual([false, false])
  again.leave()
  expect(waits()).toEqual([false, false, false])
})

test('suspects of one event wait for each other', () => {
  const apart = createApart()
  const [a, b] = [apart.enter([], 0), apart.enter([], 0)]
  const marks = [a.fail(false, 10).mark, b.fail(false, 11).mark]
  a.leave()
  b.leave()
  apart.enter([marks[0] ?? ''], 20)
  expect(apart.mustWait([marks[1] ?? ''])).toBe(true)
})

test('after half a minute a suspect waits for prefills only', () => {
  let now = 1_800_000_000_000
  const apart = createApart(() => now)
  const [a, b] = [apart.enter([], 0), apart.enter([], 0)]
  const marks = [a.fail(false, 10).mark, b.fail(false, 11).mark]
  a.leave()
  b.leave()
  const again = apart.enter([marks[0] ?? ''], 20)
  const waits = () => apart.mustWait([marks[1] ?? ''])
  expect(waits()).toBe(true)
  now += 29_000
  again.answer()
  expect(waits()).toBe(true)
  now += 1000
  expect(waits()).toBe(false)
  again.leave()
  apart.enter([marks[0] ?? ''], 30)
  expect(waits()).toBe(true)
})

test('jobs that failed together twice, all after their first tokens, run apart', () => {
  const apart = createApart()
  let marks: readonly string[][] = [[], []]
  const failTogether = (at: number) => {
    const running = marks.map((own) => apart.enter(own, at))
    const failures = running.map((each) => each.fail(true, at + 10))
    marks = marks.map((own, n) => [...own, failures[n]?.mark ?? ''])
    for (const each of running) each.leave()
  }
  const wait = () => {
    const neighbour = apart.enter(marks[0] ?? [], 10_000)
    const waits = apart.mustWait(marks[1] ?? [])
    neighbour.leave()
    return waits
  }
  failTogether(0)
  expect(wait()).toBe(false)
  failTogether(5000)
  expect(wait()).toBe(true)
})

test('a job that was a victim five times is none any more', () => {
  const apart = createApart()
  const isVictimAfter = (events: number) => {
    const marks = Array.from({ length: events }, (_, n) => `event ${n}`)
    const [mate, bad] = [apart.enter(marks, 0), apart.enter([], 0)]
    const failure = mate.fail(true, 10)
    bad.fail(false, 10)
    return failure.isVictim
  }
  expect([0, 4, 5, 8].map(isVictimAfter)).toEqual([true, true, false, false])
})

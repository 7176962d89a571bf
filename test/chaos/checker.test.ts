import { describe, expect, test } from 'vitest'
import type { JobEvent } from '../../src/contract/event.ts'
import { START, entryId } from '../../src/contract/stream-id.ts'
import { checkJob } from './check-job.ts'
import { fingerprint } from './check-readings.ts'
import { checkOverdue, checkOverloads, checkRest } from './check-rest.ts'
import type { Check, JobEvidence, RestEvidence, Violation } from './evidence.ts'
import {
  NOTHING_LOST,
  end,
  error,
  job,
  plainLog,
  queued,
  rest,
  resumedLog,
  started,
  tokens,
} from './fabricate.ts'
import { formatVerdict } from './verdict.ts'

/** The checks that found something. */
function checksOf(violations: readonly Violation[]): Check[] {
  return [...new Set(violations.map(({ check }) => check))]
}

/** The plain log with one event in another's place. */
function withEvent(index: number, event: JobEvent): JobEvent[] {
  return plainLog().with(index, event)
}

/** The plain log of a job whose consumer saw something else. */
function reading(change: Partial<JobEvidence['readings'][number]>): JobEvidence {
  const sound = job(plainLog())
  const [first] = sound.readings
  if (first === undefined) throw new Error('no reading')
  return { ...sound, readings: [{ ...first, ...change }] }
}

/** What is known of a cancel that has returned. */
function cancelled(
  entries: number,
  outcome: 'cancelled' | 'already_over' = 'cancelled',
): Pick<JobEvidence, 'cancel' | 'cancelAsked'> {
  return { cancelAsked: true, cancel: { outcome, repeated: false, entries, at: 0 } }
}

const PRINTS = plainLog().map(fingerprint)

describe('the checker finds nothing wrong with', () => {
  const stopped = [queued(), started(1), ...tokens(1, 0, 2), error('CANCELLED')]
  const failed = { body: { inputs: 'p', on_interrupt: 'fail' as const, parameters: { max_new_tokens: 6 } } }
  test.each<[string, JobEvidence]>([
    ['a plain answer', job(plainLog())],
    ['one that was replayed', job(resumedLog('replay'))],
    ['one that was continued', job(resumedLog('continue'))],
    [
      'one that was begun again before its first token',
      job([queued(), started(1), started(2), ...tokens(2, 0, 6), end({ attempts: 2 })]),
    ],
    ['a cancelled job', job(stopped, cancelled(stopped.length))],
    [
      'a job that was to fail',
      job([queued(), started(1), ...tokens(1, 0, 2), error('WORKER_RESET', { tokens_out: 2 })], failed),
    ],
    [
      'a job that waited for too long',
      job([queued(), error('DEADLINE_UNMET')], { body: { inputs: 'p', deadline_ms: 60_000 } }),
    ],
    [
      'a job that Redis lost after it had been accepted',
      job([], { events: undefined, lost: { ...NOTHING_LOST, acceptance: true } }),
    ],
    [
      'a cancel that Redis lost after it had returned',
      job(plainLog(), { ...cancelled(stopped.length), lost: { ...NOTHING_LOST, cancel: true } }),
    ],
    [
      'a consumer that began in the middle',
      reading({ after: plainLog()[2]?.id ?? '', seen: PRINTS.slice(3) }),
    ],
  ])('%s', (_, evidence) => {
    expect(checkJob(evidence)).toEqual([])
  })

  test('everything at rest', () => {
    expect(checkRest(rest())).toEqual([])
  })
})

describe('the checker sees', () => {
  const [, , first, second, third] = plainLog()
  const badToken = (change: object): JobEvent => ({
    ...(third as Extract<JobEvent, { event: 'token' }>),
    data: { ...(third as Extract<JobEvent, { event: 'token' }>).data, ...change },
  })
  const half = [queued(), started(1), ...tokens(1, 0, 2)]
  const noReplay = {
    body: { inputs: 'p', on_interrupt: 'replay' as const, parameters: { max_new_tokens: 6 } },
  }
  const noResume = { body: { inputs: 'p', on_interrupt: 'fail' as const, parameters: { max_new_tokens: 6 } } }

  test.each<[string, Check, JobEvidence]>([
    ['a job without a stream', 'lost', job([], { events: undefined, readings: [] })],
    ['a job without a terminal event', 'lost', job(half)],
    ['two terminal events', 'double-terminal', job([...plainLog(), error('INTERNAL')])],
    ['a token after the terminal event', 'after-terminal', job([...plainLog(), ...tokens(1, 6, 7)])],
    ['a stream that does not begin with queued', 'ids', job(plainLog().slice(1))],
    ['a terminal event that is no seal', 'ids', job(withEvent(8, { ...end(), id: entryId(2e6, 1) }))],
    [
      'an entry of an older attempt after a newer one',
      'ids',
      job(resumedLog('replay').toSpliced(5, 0, ...tokens(1, 2, 3))),
    ],
    [
      'a place in an attempt that is left out',
      'ids',
      job(withEvent(4, { ...badToken({}), id: entryId(1_001_000, 9) })),
    ],
    ['a hole', 'hole', job(plainLog().toSpliced(4, 1))],
    [
      'a hole where Redis lost something',
      'hole',
      job(plainLog().toSpliced(4, 1), { lost: { ...NOTHING_LOST, acceptance: true, cancel: true } }),
    ],
    [
      'a job without a stream of which Redis lost the cancel only',
      'lost',
      job([], { events: undefined, lost: { ...NOTHING_LOST, cancel: true } }),
    ],
    ['a job that waited for ever', 'lost', job([queued(), error('DEADLINE_UNMET')])],
    ['a repeat', 'repeat', job([...plainLog().slice(0, 4), ...tokens(1, 1, 2), ...plainLog().slice(5)])],
    [
      'an attempt that says another next token',
      'answer',
      job([queued(), started(1, 3), ...plainLog().slice(2)]),
    ],
    [
      'an attempt that counts wrong',
      'answer',
      job([queued(), { ...started(2), id: started(1).id }, ...plainLog().slice(2)]),
    ],
    ['a token after cancel() returned', 'after-cancel', job([...half, error('CANCELLED')], cancelled(4))],
    ['an answer although cancel() said cancelled', 'after-cancel', job(plainLog(), cancelled(9))],
    [
      'a cancel that nobody else asked for',
      'after-cancel',
      job([...half, error('CANCELLED')], cancelled(5, 'already_over')),
    ],
    [
      'a text that its tokens do not make',
      'text',
      job(withEvent(8, end({ text: ' The river keeps the sun.' }))),
    ],
    ['an end that counts its tokens wrong', 'answer', job(withEvent(8, end({ tokens_out: 5 })))],
    [
      'an end with another time to first token than its first token has',
      'answer',
      job(withEvent(8, end({ ttft_ms: 5 }))),
    ],
    ['an end that counts its attempts wrong', 'answer', job(withEvent(8, end({ attempts: 2 })))],
    [
      'an error that counts its tokens wrong',
      'answer',
      job([...half, error('WORKER_RESET', { tokens_out: 3 })], noResume),
    ],
    [
      'an answer above its budget',
      'answer',
      job(plainLog(), { body: { inputs: 'p', parameters: { max_new_tokens: 5 } } }),
    ],
    [
      'an end by length before the length',
      'answer',
      job(plainLog(), { body: { inputs: 'p', parameters: { max_new_tokens: 9 } } }),
    ],
    [
      'an end by a token that was not there',
      'answer',
      job(withEvent(8, end({ finish_reason: 'eos_token' }))),
    ],
    [
      'an end by a stop sequence that was not there',
      'answer',
      job(withEvent(8, end({ finish_reason: 'stop_sequence' }))),
    ],
    ['an answer that goes on without saying how', 'resume', job(resumedLog('replay').with(4, started(2, 2)))],
    ['a job that was to fail and goes on', 'resume', job(resumedLog('replay'), noResume)],
    ['a job that was to be replayed and is continued', 'resume', job(resumedLog('continue'), noReplay)],
    [
      'an attempt that hides a seam',
      'resume',
      job(resumedLog('continue').with(4, started(2, 2, { mode: 'continue', exact: true }))),
    ],
    [
      'an end that hides a seam',
      'resume',
      job(resumedLog('continue').with(9, end({ attempts: 2, exact: true }))),
    ],
    [
      'a text that was not kept',
      'resume',
      job(resumedLog('continue').with(9, end({ attempts: 2, exact: false, text: ' keeps the moon.' }))),
    ],
    ['a token that an undisturbed generation has not', 'divergence', job(withEvent(4, badToken({ id: 7 })))],
    [
      'an answer that is shorter than an undisturbed one',
      'divergence',
      job(plainLog(), { undisturbed: { ids: [100, 101, 102, 103, 104, 105, 106], text: '' } }),
    ],
    [
      'a second answer begun after the seam',
      'divergence',
      job(resumedLog('continue'), { undisturbed: { ids: [100, 101, 102], text: ' The river keeps' } }),
    ],
    [
      'a token after the seam that does not follow the text before it',
      'divergence',
      job(resumedLog('continue'), { afterSeams: [{ ids: [102, 103, 7, 105], text: '' }] }),
    ],
    [
      'an answer that ends too early after its seam',
      'divergence',
      job(resumedLog('continue'), { afterSeams: [{ ids: [102, 103, 104, 105, 106], text: '' }] }),
    ],
    ['tokens with nothing to compare them with', 'divergence', job(plainLog(), { undisturbed: undefined })],
    ['an error that is our own fault', 'lost', job([...half, error('INTERNAL')])],
    ['a divergence nobody caused', 'lost', job([...half, error('REPLAY_DIVERGED')])],
    ['a cancel that nobody asked for', 'lost', job([...half, error('CANCELLED')])],
    ['a job that was to go on and did not', 'lost', job([...half, error('WORKER_RESET')])],
    ['a job given up too early', 'lost', job([queued(), started(1), error('REPLICA_EXHAUSTED')])],
    [
      'a deadline before its time',
      'lost',
      job([queued(), error('DEADLINE_UNMET')], { sealSeenAt: 1_000_001 }),
    ],
    ['a deadline of the wrong kind', 'answer', job([...half, error('DEADLINE_UNMET')])],
    ['a consumer that missed an event', 'reader', reading({ seen: PRINTS.toSpliced(3, 1) })],
    [
      'a consumer that saw an event twice',
      'reader',
      reading({ seen: PRINTS.toSpliced(3, 0, PRINTS[3] ?? '') }),
    ],
    [
      'a consumer that saw events in another order',
      'reader',
      reading({
        seen: PRINTS.with(2, fingerprint(second ?? queued())).with(3, fingerprint(first ?? queued())),
      }),
    ],
    [
      'a consumer that saw another text',
      'reader',
      reading({ seen: PRINTS.with(4, fingerprint(badToken({ t: ' x' }))) }),
    ],
    ['a consumer that saw what is not there', 'reader', reading({ seen: [...PRINTS, 'x'] })],
    ['a consumer that began above its cursor', 'reader', reading({ after: START, seen: PRINTS.slice(1) })],
    ['a consumer that was never told of the end', 'reader', reading({ over: false })],
    ['a consumer that was sent away', 'reader', reading({ fault: 'PoolError: GONE' })],
  ])('%s', (_, check, evidence) => {
    expect(checksOf(checkJob(evidence))).toContain(check)
  })

  const [simulator] = rest().simulators
  const [replica] = rest().replicas
  if (simulator === undefined || replica === undefined) throw new Error('nothing at rest')
  test.each<[string, RestEvidence]>([
    ['an open request', rest({ simulators: [{ ...simulator, open: 1 }] })],
    ['a request on the GPU', rest({ simulators: [{ ...simulator, running: 1 }] })],
    ['a request behind it', rest({ simulators: [{ ...simulator, queued: 1 }] })],
    ['a permit that was not given back', rest({ simulators: [{ ...simulator, permits: 1 }] })],
    ['a busy slot', rest({ replicas: [{ ...replica, busy: 1 }] })],
    ['a lease of a dead worker', rest({ workers: ['x'] })],
    ['a job in the queue', rest({ queued: 1 })],
    ['a deadline that is still watched', rest({ deadlines: 1 })],
  ])('%s at rest', (_, evidence) => {
    expect(checksOf(checkRest(evidence))).toEqual(['rest'])
  })

  test('a job that is not over 2 s after its deadline, Redis being away or not', () => {
    const overdue = { jobId: 'j', deadlineAt: 10_000, seenAt: 12_001 }
    expect(checksOf(checkOverdue([overdue], []))).toEqual(['deadline'])
    expect(checksOf(checkOverdue([overdue], [{ from: 5000, to: 9999 }]))).toEqual(['deadline'])
    expect(checkOverdue([overdue], [{ from: 9000, to: 10_500 }])).toEqual([])
    expect(checksOf(checkOverdue([{ ...overdue, seenAt: 12_501 }], [{ from: 9000, to: 10_500 }]))).toEqual([
      'deadline',
    ])
    expect(checksOf(checkOverdue([overdue], [{ from: 12_001, to: 13_000 }]))).toEqual(['deadline'])
  })

  test('a replica with more requests open than slots, unless its worker was stopped', () => {
    const overload = { replicaId: 'sim-0', slots: 6, open: 7, at: 100 }
    expect(checksOf(checkOverloads([overload], new Map()))).toEqual(['requests'])
    expect(checksOf(checkOverloads([overload], new Map([['sim-1', [{ from: 0, to: 200 }]]])))).toEqual([
      'requests',
    ])
    expect(checksOf(checkOverloads([overload], new Map([['sim-0', [{ from: 101, to: 200 }]]])))).toEqual([
      'requests',
    ])
    expect(checkOverloads([overload], new Map([['sim-0', [{ from: 0, to: 200 }]]]))).toEqual([])
  })
})

describe('the verdict', () => {
  const faults = new Map([['worker-kill', 2]])

  test('is OK when nothing was found', () => {
    const outcome = { seed: 1, faults, jobs: [job(plainLog())], rest: rest(), violations: [] }
    expect(formatVerdict(outcome)).toBe(
      'chaos: OK seed=1 jobs=1 faults=2 lost=0 holes=0 repeats=0 double_terminals=0 open_sockets=0 leaked_slots=0',
    )
  })

  test('is FAILED for whatever was found, and counts jobs, not findings', () => {
    const broken = job(plainLog().toSpliced(4, 1).toSpliced(5, 1))
    const violations = checkJob(broken)
    expect(formatVerdict({ seed: 1, faults, jobs: [broken], rest: rest(), violations })).toMatch(
      /^chaos: FAILED seed=1 jobs=1 faults=2 lost=0 holes=1 /,
    )
    const text: Violation = { check: 'process', message: 'ended' }
    expect(formatVerdict({ seed: 1, faults, jobs: [], rest: rest(), violations: [text] })).toMatch(/FAILED/)
  })
})

import { describe, expect } from 'vitest'
import { describeEnd, readEnd } from '../../src/attempt/job-end.ts'
import { readJobState } from '../../src/client/job-state.ts'
import type { JobState } from '../../src/contract/job-state.ts'
import { entryId } from '../../src/contract/stream-id.ts'
import { openJobQueue } from '../../src/queue/job-queue.ts'
import { formatEntry } from '../../src/stream/entry.ts'
import type { LogEntry } from '../../src/stream/entry.ts'
import { ANYTHING, createEventLog } from '../../src/stream/event-log.ts'
import { START } from '../../src/contract/stream-id.ts'
import { CANCELLED, EPOCH, QUEUED, end, started, token, tokens } from '../stream/entries.ts'
import { test as base } from '../support/redis.ts'

const ACCEPTED = { accepted_at: 1, deadline_at: 2 }
const NEXT = EPOCH + 1

/** A second attempt that goes on after 500 tokens. */
const SECOND = started(NEXT, 500, 2)
const metrics = (n: number, count: number) =>
  formatEntry(entryId(EPOCH, n), 'metrics', { tokens_out: count, elapsed_ms: 1 })
/** Attempts of replicas that handed the job back before its first token. */
const HAND_BACKS = Array.from({ length: 100 }, (_, n) => started(EPOCH - 100 + n, 0, n + 1))

const test = base.extend('stage', ({ redis }, { onCleanup }) => {
  const log = createEventLog(redis.redis, redis.keys)
  const queue = openJobQueue(redis.redis, redis.keys)
  onCleanup(() => queue.close())
  return {
    log,
    async write(entries: readonly LogEntry[]) {
      const request = { jobId: 'j', deadlineAt: Date.now() + 100_000, retentionMs: 60_000 }
      for (const [at, entry] of entries.entries())
        await log.write({ ...request, entries: [entry], expect: at === 0 ? START : ANYTHING })
    },
    state: () => readJobState(log, queue, redis.keys, 'j'),
  }
})

/** A stream, and what its job's state says. */
const STREAMS: readonly (readonly [string, readonly LogEntry[], Partial<JobState>])[] = [
  ['queued', [QUEUED], { ...ACCEPTED, state: 'queued', attempts: 0, tokens_out: 0 }],
  ['started', [QUEUED, started()], { ...ACCEPTED, state: 'started', attempts: 1, tokens_out: 0 }],
  ['a plain producer’s', [started(), token(0)], { state: 'started', attempts: 1, tokens_out: 1 }],
  ['cancelled while it waited', [CANCELLED], { state: 'cancelled', attempts: 0, tokens_out: 0 }],
  [
    'running, with many tokens',
    [QUEUED, started(), ...tokens(500)],
    { ...ACCEPTED, state: 'started', attempts: 1, tokens_out: 500 },
  ],
  [
    'running, with metrics last',
    [QUEUED, started(), ...tokens(500), metrics(502, 500)],
    { ...ACCEPTED, state: 'started', attempts: 1, tokens_out: 500 },
  ],
  [
    'taken up again',
    [QUEUED, started(), ...tokens(500), SECOND],
    { ...ACCEPTED, state: 'started', attempts: 2, tokens_out: 500 },
  ],
  [
    'ended in its second attempt',
    [
      QUEUED,
      started(),
      ...tokens(500),
      SECOND,
      formatEntry(entryId(NEXT, 2), 'token', { t: 'x', i: 500, id: 1, logprob: null }),
      end(501),
    ],
    { ...ACCEPTED, state: 'ended', attempts: 2, tokens_out: 501 },
  ],
  [
    'cancelled in the middle',
    [QUEUED, started(), ...tokens(500), CANCELLED],
    { ...ACCEPTED, state: 'cancelled', attempts: 1, tokens_out: 500 },
  ],
  [
    'cancelled when it was taken up again',
    [QUEUED, started(), ...tokens(500), SECOND, CANCELLED],
    { ...ACCEPTED, state: 'cancelled', attempts: 2, tokens_out: 500 },
  ],
  [
    'handed back often',
    [QUEUED, ...HAND_BACKS],
    { ...ACCEPTED, state: 'started', attempts: 100, tokens_out: 0 },
  ],
]

describe('the state of a job', () => {
  test.for(STREAMS)('that is %s', async ([, entries, expected], { stage }) => {
    await stage.write(entries)
    const state = await stage.state()
    expect(state).toMatchObject(expected)
    expect(state.last_id).toBe(entries.at(-1)?.id)
    expect(state.replica_id).toBe(expected.attempts === 0 ? undefined : 'r')
    expect([state.accepted_at, state.deadline_at]).toEqual([expected.accepted_at, expected.deadline_at])
    expect([state.end === undefined, state.error === undefined]).toEqual([
      expected.state !== 'ended',
      expected.state !== 'cancelled',
    ])
  })

  test('is read from a few entries, however many there are', async ({ stage }) => {
    await stage.write([QUEUED, started()])
    const many = { jobId: 'j', deadlineAt: 0, retentionMs: 60_000, expect: ANYTHING } as const
    await stage.log.write({ ...many, entries: tokens(5000) })
    await stage.log.write({ ...many, entries: [SECOND, end(5000)] })
    const { entries } = await stage.log.readOutline('j')
    expect(entries.length).toBeLessThan(50)
    expect(entries.slice(-2)).toEqual([SECOND, end(5000)])
    expect(await stage.state()).toMatchObject({ state: 'ended', attempts: 2, tokens_out: 5000 })
  })

  test('of a stream that no worker wrote is read from all of it', async ({ stage }) => {
    const odd = tokens(100).map((entry) => ({
      ...entry,
      id: entryId(EPOCH, Number(entry.id.split('-')[1]) + 5),
    }))
    await stage.write([QUEUED, ...odd])
    expect((await stage.log.readOutline('j')).entries).toHaveLength(101)
    expect(await stage.state()).toMatchObject({ state: 'queued', attempts: 0, tokens_out: 100 })
  })
})

test.for(STREAMS.filter(([, entries]) => entries.at(-1) === CANCELLED))(
  'the end of a job that is %s is described as from all of its events',
  async ([, entries], { stage }) => {
    await stage.write(entries)
    const { nowMs } = await stage.log.read('j')
    const whole = describeEnd('j', 'p', entries, nowMs)
    const read = await readEnd(stage.log, 'p', 'j', CANCELLED)
    expect({ ...read, end_to_end_ms: 0 }).toEqual({ ...whole, end_to_end_ms: 0 })
  },
)
